/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of weak functions: ig takes them since 0.51. */
#include "object.h"

HASH_MAP(at_weak);
HASH_MAP(at_second);

__weak __noinline int weak(__u64 argument)
{
	__u32 key = (__u32)argument;

	return bpf_map_lookup_elem(&at_weak, &key) != 0;
}

__attribute__((weak)) __noinline int second(__u64 argument)
{
	__u32 key = (__u32)argument;

	bpf_map_delete_elem(&at_second, &key);
	return weak(argument + 1);
}

SEC("kprobe/one")
int calls_weak(void *ctx)
{
	return second(bpf_ktime_get_ns()) + weak(bpf_ktime_get_ns());
}
