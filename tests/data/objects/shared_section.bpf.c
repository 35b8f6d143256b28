/* SPDX-License-Identifier: Apache-2.0 */
/* Several programs in one section, and static functions there, which are called by distance. */
#include "object.h"

HASH_MAP(one_map);
HASH_MAP(two_map);
HASH_MAP(shared);

static __attribute__((noinline, section("kprobe/same"))) int helper(__u32 key)
{
	return bpf_map_lookup_elem(&shared, &key) != 0;
}

SEC("kprobe/same")
int two(void *ctx)
{
	__u32 key = 2;

	return bpf_map_lookup_elem(&two_map, &key) != 0;
}

SEC("kprobe/same")
int one(void *ctx)
{
	__u32 key = 1;

	return helper(bpf_ktime_get_ns()) + bpf_map_delete_elem(&one_map, &key);
}

SEC("kprobe/same")
int none(void *ctx)
{
	return 0;
}
