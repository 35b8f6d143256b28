/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subprograms are appended breadth first, the callees of one function by name and not in the order
 * of the calls, each once; a function that only data refers to is not.
 */
#include "object.h"

HASH_MAP(at_main);
HASH_MAP(at_a);
HASH_MAP(at_deep);
HASH_MAP(at_m);
HASH_MAP(at_z);

#define TOUCH(map)                              \
	({                                      \
		__u32 key = (__u32)argument;    \
		bpf_map_lookup_elem(&map, &key) != 0; \
	})

__noinline int deep(__u64 argument)
{
	return TOUCH(at_deep);
}

static __noinline int z(__u64 argument)
{
	return TOUCH(at_z) + deep(argument);
}

__noinline int m(__u64 argument)
{
	return TOUCH(at_m);
}

static __noinline int a(__u64 argument)
{
	return TOUCH(at_a) + deep(argument + 1) + m(argument);
}

SEC("kprobe/one")
__noinline int calls(void *ctx)
{
	__u64 argument = bpf_ktime_get_ns();

	return z(argument) + m(argument + 1) + a(argument + 2) + TOUCH(at_main);
}

SEC("kprobe/two")
int calls_program(void *ctx)
{
	return calls(ctx);
}

SEC("kprobe/three")
int calls_one(void *ctx)
{
	return m(bpf_ktime_get_ns());
}
