/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What gadgets use of libbpf's header, and its versions before 1.2 lack: Debian
 * 12 has 1.1. Where they are defined, this adds nothing.
 */
#ifndef __GADGETOPS_COMPAT_BPF_TRACING_H
#define __GADGETOPS_COMPAT_BPF_TRACING_H

#include_next <bpf/bpf_tracing.h>

#ifndef BPF_UPROBE
#define BPF_UPROBE(name, args...) BPF_KPROBE(name, ##args)
#endif

#ifndef BPF_URETPROBE
#define BPF_URETPROBE(name, args...) BPF_KRETPROBE(name, ##args)
#endif

#if defined(__TARGET_ARCH_x86)
#define __gadgetops_parm6 r9
#elif defined(__TARGET_ARCH_arm64)
#define __gadgetops_parm6 regs[5]
#endif

#if defined(__gadgetops_parm6) && defined(__PT_REGS_CAST)
#ifndef PT_REGS_PARM6
#define PT_REGS_PARM6(x) (__PT_REGS_CAST(x)->__gadgetops_parm6)
#endif
#ifndef PT_REGS_PARM6_CORE
#define PT_REGS_PARM6_CORE(x) BPF_CORE_READ(__PT_REGS_CAST(x), __gadgetops_parm6)
#endif
#ifndef PT_REGS_PARM6_SYSCALL
#define PT_REGS_PARM6_SYSCALL(x) PT_REGS_PARM6(x)
#endif
#ifndef PT_REGS_PARM6_CORE_SYSCALL
#define PT_REGS_PARM6_CORE_SYSCALL(x) PT_REGS_PARM6_CORE(x)
#endif
#ifndef ___bpf_kprobe_args6
#define ___bpf_kprobe_args6(x, args...) \
	___bpf_kprobe_args5(args), (void *)PT_REGS_PARM6(ctx)
#endif
#endif

#endif
