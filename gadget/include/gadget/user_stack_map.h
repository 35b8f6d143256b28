/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* User stacks: kept once each in a map, named by id in the events. */
#ifndef __GADGET_USER_STACK_MAP_H
#define __GADGET_USER_STACK_MAP_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <gadget/common.h>
#include <gadget/macros.h>
#include <gadget/types.h>

#define GADGET_USER_MAX_STACK_DEPTH 127

const volatile bool collect_ustack = false;
GADGET_PARAM(collect_ustack);

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, GADGET_USER_MAX_STACK_DEPTH * sizeof(__u64));
	__uint(max_entries, 10000);
} ig_ustack SEC(".maps");

#ifdef GADGET_IG_MAPS

/*
 * What `ig run` expects beside the stacks: 0.46 to 0.55 panic with
 * --collect-ustack if there is no map `ig_build_id`.
 */

const volatile bool collect_build_id = false;
GADGET_PARAM(collect_build_id);

#define GADGET_BUILD_ID_MAX_ENTRIES 1024

/* ig gives the map of this name so many entries. */
const volatile int ig_build_id_max_entries = GADGET_BUILD_ID_MAX_ENTRIES;
GADGET_PARAM(ig_build_id_max_entries);

/* A frame as the kernel writes it: struct bpf_stack_build_id. */
struct gadget_build_id_frame {
	__s32 status;
	__u8 build_id[20];
	__u64 offset_or_ip;
};

struct gadget_build_id_stack {
	struct gadget_build_id_frame frames[GADGET_USER_MAX_STACK_DEPTH];
};

/* ig before 0.45 leaves the number as it stands here, and 0 does not load. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(key_size, sizeof(__u32)); /* stack_id */
	__uint(value_size, sizeof(struct gadget_build_id_stack));
	__uint(max_entries, GADGET_BUILD_ID_MAX_ENTRIES);
} ig_build_id SEC(".maps");

static const struct gadget_build_id_stack gadget_no_build_ids = {};

/*
 * Keep the files and offsets of a stack's frames, once for each stack. Clang
 * is told to expect it, so that it stands in its place in the diagrams.
 */
static __always_inline void gadget_keep_build_ids(void *ctx, __u32 stack_id)
{
	void *stack;

	if (__builtin_expect(!collect_build_id || (__s32)stack_id < 0, 0))
		return;
	if (__builtin_expect(bpf_map_update_elem(&ig_build_id, &stack_id,
						 &gadget_no_build_ids,
						 BPF_NOEXIST) != 0,
			     0))
		return;
	stack = bpf_map_lookup_elem(&ig_build_id, &stack_id);
	if (__builtin_expect(stack != NULL, 1))
		bpf_get_stack(ctx, stack, sizeof(gadget_no_build_ids),
			      BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
}

#else

static __always_inline void gadget_keep_build_ids(void *ctx, __u32 stack_id)
{
}

#endif

/* Where kernels before 6.7, from 6.7 and from 6.11 keep a file's time. */

struct timespec64___gadget {
	__s64 tv_sec;
	long tv_nsec;
} __attribute__((preserve_access_index));

struct inode___plain {
	struct timespec64___gadget i_mtime;
} __attribute__((preserve_access_index));

struct inode___underscored {
	struct timespec64___gadget __i_mtime;
} __attribute__((preserve_access_index));

struct inode___split {
	__s64 i_mtime_sec;
	__u32 i_mtime_nsec;
} __attribute__((preserve_access_index));

static __always_inline void gadget_read_mtime(struct inode *inode,
					      struct gadget_user_stack *ustack)
{
	struct inode___plain *plain = (void *)inode;
	struct inode___underscored *underscored = (void *)inode;
	struct inode___split *split = (void *)inode;

	if (bpf_core_field_exists(split->i_mtime_sec)) {
		ustack->mtime_sec = BPF_CORE_READ(split, i_mtime_sec);
		ustack->mtime_nsec = BPF_CORE_READ(split, i_mtime_nsec);
	} else if (bpf_core_field_exists(underscored->__i_mtime)) {
		ustack->mtime_sec =
			BPF_CORE_READ(underscored, __i_mtime.tv_sec);
		ustack->mtime_nsec =
			BPF_CORE_READ(underscored, __i_mtime.tv_nsec);
	} else {
		ustack->mtime_sec = BPF_CORE_READ(plain, i_mtime.tv_sec);
		ustack->mtime_nsec = BPF_CORE_READ(plain, i_mtime.tv_nsec);
	}
}

/* FNV-1a, 32 bits, over the bytes of one more word, the lowest first. */
static __always_inline __u32 gadget_fnv1a_word(__u32 hash, __u64 word)
{
	for (int i = 0; i < 8; i++) {
		hash = (hash ^ (word & 0xff)) * 16777619U;
		word >>= 8;
	}
	return hash;
}

static __always_inline __u32 gadget_hash_mm(struct mm_struct *mm)
{
	__u32 hash = 2166136261U;

	hash = gadget_fnv1a_word(hash, (__u64)mm);
	hash = gadget_fnv1a_word(hash, BPF_CORE_READ(mm, start_code));
	return gadget_fnv1a_word(hash, BPF_CORE_READ(mm, start_stack));
}

static __always_inline void gadget_read_exe(struct task_struct *task,
					    struct gadget_user_stack *ustack)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct inode *inode = BPF_CORE_READ(mm, exe_file, f_inode);
	__u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);

	ustack->major = dev >> 20;
	ustack->minor = dev & 0xfffff;
	ustack->inode = BPF_CORE_READ(inode, i_ino);
	ustack->exe_inode = ustack->inode;
	gadget_read_mtime(inode, ustack);
	ustack->base_addr_hash = gadget_hash_mm(mm);
}

/*
 * One level's entry of `numbers`. By address, since kernels before 6.5 declare
 * one element only, and an index beyond it is refused when relocated.
 */
static __always_inline struct upid *gadget_upid(struct pid *pid, int level)
{
	return (void *)pid + bpf_core_field_offset(struct pid, numbers) +
	       level * bpf_core_type_size(struct upid);
}

static __always_inline void gadget_read_pids(struct task_struct *task,
					     struct gadget_user_stack *ustack)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct upid *upid = gadget_upid(pid, 0);

	ustack->tgid_level0 = BPF_CORE_READ(task, tgid);
	ustack->pid_level0 = BPF_CORE_READ(upid, nr);
	ustack->pidns_level0 = BPF_CORE_READ(upid, ns, ns.inum);
	if (BPF_CORE_READ(pid, level) == 0)
		return;
	upid = gadget_upid(pid, 1);
	ustack->pid_level1 = BPF_CORE_READ(upid, nr);
	ustack->pidns_level1 = BPF_CORE_READ(upid, ns, ns.inum);
}

/*
 * Fill `ustack` with the current user stack, or with zeros where none is
 * collected. Ids are never reused: two stacks that fall into one bucket are a
 * failure (-EEXIST) of the second.
 */
static __always_inline void
gadget_get_user_stack(void *ctx, struct gadget_user_stack *ustack)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (gadget_reader_knows_processes)
		ustack->stack_id = 0;
	else
		__builtin_memset(ustack, 0, sizeof(*ustack));
	if (!collect_ustack)
		return;
	if (!gadget_reader_knows_processes) {
		gadget_read_exe(task, ustack);
		gadget_read_pids(task, ustack);
	}
	ustack->stack_id = bpf_get_stackid(
		ctx, &ig_ustack, BPF_F_FAST_STACK_CMP | BPF_F_USER_STACK);
	gadget_keep_build_ids(ctx, ustack->stack_id);
}

#endif /* __GADGET_USER_STACK_MAP_H */
