/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef __GADGET_COMMON_H
#define __GADGET_COMMON_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <gadget/mntns.h>
#include <gadget/types.h>

/* Say who the current task is: names, ids, namespace, parent. */
static __always_inline void
gadget_process_populate(struct gadget_process *process)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u64 uid_gid = bpf_get_current_uid_gid();

	bpf_get_current_comm(process->comm, sizeof(process->comm));
	process->pid = pid_tgid >> 32;
	process->tid = (__u32)pid_tgid;
	process->mntns_id = gadget_get_current_mntns_id();
	process->creds.uid = (__u32)uid_gid;
	process->creds.gid = uid_gid >> 32;
	BPF_CORE_READ_STR_INTO(&process->parent.comm, parent, comm);
	process->parent.pid = BPF_CORE_READ(parent, tgid);
	process->parent.tid = BPF_CORE_READ(parent, pid);
}

#endif /* __GADGET_COMMON_H */
