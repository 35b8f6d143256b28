/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Types that ig knows by name: a field of such a type is enriched, formatted
 * or filtered without further configuration.
 */
#ifndef __GADGET_TYPES_H
#define __GADGET_TYPES_H

#include <vmlinux.h>

#define GADGET_COMM_LEN 16

typedef __u64 gadget_mntns_id; /* inode of a mount namespace */
typedef __u64 gadget_timestamp; /* nanoseconds since boot */
typedef __u32 gadget_pid;
typedef __u32 gadget_tid;
typedef __u32 gadget_ppid;
typedef __u32 gadget_ptid;
typedef __u32 gadget_uid;
typedef __u32 gadget_gid;
typedef char gadget_comm;
typedef char gadget_pcomm;

struct gadget_creds {
	gadget_uid uid;
	gadget_gid gid;
};

struct gadget_parent {
	gadget_pcomm comm[GADGET_COMM_LEN];
	gadget_ppid pid;
	gadget_ptid tid;
};

struct gadget_process {
	gadget_comm comm[GADGET_COMM_LEN];
	gadget_pid pid;
	gadget_tid tid;
	gadget_mntns_id mntns_id;
	struct gadget_creds creds;
	struct gadget_parent parent;
};

/*
 * Where a user stack is (`stack_id` in map ig_ustack; negative, as a signed
 * number, is the error of a stack that could not be kept) and what is needed
 * to symbolise it later. All zero: no stack was asked for.
 *
 * The members are those of every ig from 0.40 to 0.55 together: each version
 * looks them up by name and ignores the rest.
 */
struct gadget_user_stack {
	__u64 exe_inode; /* up to 0.40; the same as inode */
	__u32 major; /* of the executable's device */
	__u32 minor;
	__u64 inode; /* of the executable */
	__u64 mtime_sec; /* of the executable */
	__u32 mtime_nsec;
	__u32 base_addr_hash; /* tells apart runs of one executable */
	__u32 stack_id;
	__u32 tgid_level0; /* in the initial pid namespace */
	__u32 pid_level0;
	__u32 pidns_level0;
	__u32 pid_level1; /* in the next pid namespace, if there is one */
	__u32 pidns_level1;
	__u64 boot_timestamp;
	__u64 otel_correlation_id;
};

#endif /* __GADGET_TYPES_H */
