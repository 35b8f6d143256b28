/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Markers: global variables whose names tell ig what the object offers. Their
 * values are never read; they must be uninitialised, global pointers to const
 * void, and the parts of their names are joined by three underscores.
 */
#ifndef __GADGET_MACROS_H
#define __GADGET_MACROS_H

/* A stream of events: datasource `name`, read from `map`, of struct `type`. */
#define GADGET_TRACER(name, map, type)                             \
	const void *gadget_tracer_##name##___##map##___##type;     \
	/* Without a user of the struct clang drops it from BTF. */ \
	const struct type *__gadget_tracer_type_##name

/* A `const volatile` variable that is set before loading: a run-time flag. */
#define GADGET_PARAM(variable) const void *gadget_param_##variable

/* libbpf before 1.2 has these under the name of their kernel twins only. */
#ifndef BPF_UPROBE
#define BPF_UPROBE BPF_KPROBE
#endif
#ifndef BPF_URETPROBE
#define BPF_URETPROBE BPF_KRETPROBE
#endif

#endif /* __GADGET_MACROS_H */
