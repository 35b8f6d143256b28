/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The filters that every gadget has: by container, process, thread, user,
 * group and command. An unset filter lets everything pass.
 */
#ifndef __GADGET_FILTER_H
#define __GADGET_FILTER_H

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <gadget/macros.h>
#include <gadget/mntns_filter.h>
#include <gadget/types.h>

#define GADGET_NO_ID ((__u32)-1)

const volatile gadget_pid targ_pid = 0;
const volatile gadget_tid targ_tid = 0;
const volatile gadget_uid targ_uid = GADGET_NO_ID;
const volatile gadget_gid targ_gid = GADGET_NO_ID;
const volatile gadget_comm targ_comm[GADGET_COMM_LEN] = {};

GADGET_PARAM(targ_pid);
GADGET_PARAM(targ_tid);
GADGET_PARAM(targ_uid);
GADGET_PARAM(targ_gid);
GADGET_PARAM(targ_comm);

static __always_inline bool gadget_should_discard_pid(gadget_pid pid)
{
	return targ_pid != 0 && targ_pid != pid;
}

static __always_inline bool gadget_should_discard_tid(gadget_tid tid)
{
	return targ_tid != 0 && targ_tid != tid;
}

static __always_inline bool gadget_should_discard_uid(gadget_uid uid)
{
	return targ_uid != GADGET_NO_ID && targ_uid != uid;
}

static __always_inline bool gadget_should_discard_gid(gadget_gid gid)
{
	return targ_gid != GADGET_NO_ID && targ_gid != gid;
}

/* What follows the terminating NUL does not count. */
static __always_inline bool
gadget_should_discard_comm(gadget_comm comm[GADGET_COMM_LEN])
{
	if (targ_comm[0] == '\0')
		return false;
	for (int i = 0; i < GADGET_COMM_LEN; i++) {
		if (comm[i] != targ_comm[i])
			return true;
		if (comm[i] == '\0')
			break;
	}
	return false;
}

/* Whether the current task is not among what was asked for. */
static __always_inline bool gadget_should_discard_data_current(void)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	gadget_comm comm[GADGET_COMM_LEN] = {};
	__u64 uid_gid;

	if (gadget_should_discard_mntns_current() ||
	    gadget_should_discard_pid(pid_tgid >> 32) ||
	    gadget_should_discard_tid((__u32)pid_tgid))
		return true;
	/* To ask for them takes longer than for the others. */
	if (targ_uid != GADGET_NO_ID || targ_gid != GADGET_NO_ID) {
		uid_gid = bpf_get_current_uid_gid();
		if (gadget_should_discard_uid((__u32)uid_gid) ||
		    gadget_should_discard_gid(uid_gid >> 32))
			return true;
	}
	if (targ_comm[0] == '\0')
		return false;
	bpf_get_current_comm(comm, sizeof(comm));
	return gadget_should_discard_comm(comm);
}

#endif /* __GADGET_FILTER_H */
