/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions whose address is passed on count as called; the iteration itself does not show. The
 * address of a global function is looked up at offset 0 of its section, whichever function is there.
 */
#include "object.h"

HASH_MAP(walked);
HASH_MAP(in_static);
HASH_MAP(in_global);
HASH_MAP(in_first);

__noinline int first_in_text(__u64 argument)
{
	__u32 key = argument;

	return bpf_map_delete_elem(&in_first, &key);
}

static long static_callback(void *map, __u32 *key, __u64 *value, void *ctx)
{
	bpf_map_update_elem(&in_static, key, value, 0);
	return 0;
}

long global_callback(void *map, __u32 *key, __u64 *value, void *ctx)
{
	bpf_map_lookup_elem(&in_global, key);
	return 0;
}

SEC("kprobe/one")
int walks(void *ctx)
{
	bpf_for_each_map_elem(&walked, static_callback, 0, 0);
	return 0;
}

SEC("kprobe/two")
int walks_globally(void *ctx)
{
	bpf_for_each_map_elem(&walked, global_callback, 0, 0);
	return 0;
}

SEC("kprobe/three")
int calls_first(void *ctx)
{
	return first_in_text(bpf_ktime_get_ns());
}
