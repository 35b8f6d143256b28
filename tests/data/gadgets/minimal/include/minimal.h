/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a gadget needs of the kernel's types and of ig's markers, and no more. */
#ifndef MINIMAL_H
#define MINIMAL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_RINGBUF = 27 };

typedef __u64 gadget_timestamp;

#define GADGET_TRACER(name, map, type)                       \
	const void *gadget_tracer_##name##___##map##___##type; \
	const struct type *__gadget_tracer_type_##name
#define GADGET_PARAM(name) const void *gadget_param_##name

#endif
