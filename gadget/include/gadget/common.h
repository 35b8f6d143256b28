/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef __GADGET_COMMON_H
#define __GADGET_COMMON_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <gadget/mntns.h>
#include <gadget/types.h>

/*
 * A reader that follows processes by itself wants their numbers alone: what
 * else an event says of a process costs more than all the rest of it.
 */
const volatile bool gadget_reader_knows_processes = false;

/* Say who the current task is: names, ids, namespace, parent. */
static __always_inline void
gadget_process_populate(struct gadget_process *process)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct task_struct *task, *parent;
	__u64 uid_gid;

	process->pid = pid_tgid >> 32;
	process->tid = (__u32)pid_tgid;
	if (gadget_reader_knows_processes)
		return;
	task = (void *)bpf_get_current_task();
	parent = BPF_CORE_READ(task, real_parent);
	uid_gid = bpf_get_current_uid_gid();
	bpf_get_current_comm(process->comm, sizeof(process->comm));
	process->mntns_id = gadget_get_current_mntns_id();
	process->creds.uid = (__u32)uid_gid;
	process->creds.gid = uid_gid >> 32;
	BPF_CORE_READ_STR_INTO(&process->parent.comm, parent, comm);
	process->parent.pid = BPF_CORE_READ(parent, tgid);
	process->parent.tid = BPF_CORE_READ(parent, pid);
}

#endif /* __GADGET_COMMON_H */
