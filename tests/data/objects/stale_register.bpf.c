/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map's address kept in a register across calls: moves are not followed, so that the look-up is
 * credited to what register 1 was loaded with last: the format string of a print (.rodata), or
 * another map.
 */
#include "object.h"

HASH_MAP(kept);
HASH_MAP(other);

SEC("kprobe/one")
int after_print(void *ctx)
{
	void *map = &kept;
	__u32 key = 1;

	asm volatile("" : "+r"(map));
	bpf_printk("hello %d", key);
	return bpf_map_lookup_elem(map, &key) != 0;
}

SEC("kprobe/two")
int after_other_map(void *ctx)
{
	void *map = &kept;
	__u32 key = 1;

	asm volatile("" : "+r"(map));
	bpf_map_delete_elem(&other, &key);
	return bpf_map_lookup_elem(map, &key) != 0;
}
