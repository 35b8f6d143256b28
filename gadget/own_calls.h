/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Calls that the C library or an allocator makes for itself: no events.
 *
 * What tells them is who calls, and what. Code is known by its content, so
 * that it does not matter where a process maps it: the recorder puts down each
 * page of the files that make such calls. Without that, as under ig, what is
 * known of the block that the thread is giving back has to do.
 */
#ifndef __OWN_CALLS_H
#define __OWN_CALLS_H

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "call_owner.h"

#define CODE_PAGE_MASK (~0xfffULL)
#define OWN_PAGE_SLOTS (1 << 14)
#define OWN_PAGE_PROBES 4
#define OWN_PAGE_WORDS 8
#define RELEASE_SLOTS 4096

/* By the hash of a page's first words, its upper half with the lowest bit. */
__u32 own_pages[OWN_PAGE_SLOTS] = {};
__u32 n_own_pages = 0;

/*
 * A block that a thread gives back, in a slot chosen by its number. Two
 * threads that share one overwrite each other: then a call inside the release
 * is an event beside it; never is another thread's call left out.
 */
struct block {
	__u64 addr;
	__u64 sp; /* at entry */
	__u32 tid;
	__u32 is_single; /* one call of free() says nothing new, then forget */
};

/* Of realloc(), until it returns; or of a call that free() is not told of. */
struct block reallocations[RELEASE_SLOTS] = {};
/* Of free(). */
struct block releases[RELEASE_SLOTS] = {};

static __always_inline struct block *block_of(struct block *blocks, __u32 tid)
{
	return &blocks[tid % RELEASE_SLOTS];
}

static __always_inline void note_block(struct pt_regs *ctx, struct block *block,
				       __u32 tid, __u64 addr, bool is_single)
{
	block->addr = addr;
	block->sp = PT_REGS_SP(ctx);
	block->tid = tid;
	block->is_single = is_single;
}

/* Whether `block` is one that this thread began to give back, further out. */
static __always_inline bool is_inside_release(struct pt_regs *ctx,
					      struct block *block, __u32 tid)
{
	return block->tid == tid && block->addr != 0 &&
	       PT_REGS_SP(ctx) <= block->sp;
}

/* free(addr) that was reported already, or has no allocation. */
static __always_inline bool is_silent_release(struct pt_regs *ctx, __u32 tid,
					      __u64 addr)
{
	struct block *block = block_of(reallocations, tid);

	if (block->addr != addr || !is_inside_release(ctx, block, tid))
		return false;
	if (block->is_single)
		block->addr = 0;
	return true;
}

/* Whether a release gives its block's mapping back by this munmap(). */
static __always_inline bool unmaps_block(struct pt_regs *ctx,
					 struct block *blocks, __u32 tid,
					 __u64 start, __u64 length)
{
	struct block *block = block_of(blocks, tid);

	return is_inside_release(ctx, block, tid) &&
	       block->addr - start < length;
}

/*
 * Whether the page of code at `page` is one that was put down. Not inline: its
 * room would count against the 512 bytes of stack of all that send events.
 */
__noinline __u32 is_own_page(__u64 page)
{
	__u64 words[OWN_PAGE_WORDS], hash = 0;
	__u32 tag;

	if (bpf_probe_read_user(words, sizeof(words), (void *)page))
		return 0;
#pragma unroll
	for (int i = 0; i < OWN_PAGE_WORDS; i++) {
		hash = (hash ^ words[i]) * 0xff51afd7ed558ccdULL;
		hash ^= hash >> 32;
	}
	tag = hash >> 32 | 1;
#pragma unroll
	for (int i = 0; i < OWN_PAGE_PROBES; i++) {
		if (own_pages[(hash + i) % OWN_PAGE_SLOTS] == tag)
			return 1;
	}
	return 0;
}

/* Whether the code that calls is of a file that calls for itself. */
static __always_inline bool is_own_code(struct pt_regs *ctx)
{
	return n_own_pages != 0 &&
	       is_own_page((return_address(ctx) - 1) & CODE_PAGE_MASK);
}

/* Whether a munmap() is part of another call, which says what is released. */
static __always_inline bool is_own_munmap(struct pt_regs *ctx, __u64 start,
					  __u64 length)
{
	__u32 tid = bpf_get_current_pid_tgid();

	return unmaps_block(ctx, releases, tid, start, length) ||
	       unmaps_block(ctx, reallocations, tid, start, length) ||
	       is_inside_owner(ctx, tid) || is_own_code(ctx);
}

#endif /* __OWN_CALLS_H */
