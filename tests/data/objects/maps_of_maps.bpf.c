/* SPDX-License-Identifier: Apache-2.0 */
/* Maps whose values are maps or programs, declared with what they hold. */
#include "object.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &inner },
};

int jumped_to(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&jumped_to },
};

SEC("kprobe/one")
int looks_twice(void *ctx)
{
	__u32 key = 1;
	void *found = bpf_map_lookup_elem(&outer, &key);

	return found && bpf_map_update_elem(found, &key, &(__u64){ 1 }, 0);
}

SEC("kprobe/two")
int jumps_away(void *ctx)
{
	bpf_tail_call(ctx, &jumps, 1);
	return 0;
}

SEC("kprobe/three")
int jumped_to(void *ctx)
{
	return 0;
}
