/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#ifndef __GADGET_MNTNS_H
#define __GADGET_MNTNS_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>

/* The mount namespace of the current task: what tells containers apart. */
static __always_inline gadget_mntns_id gadget_get_current_mntns_id(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

#endif /* __GADGET_MNTNS_H */
