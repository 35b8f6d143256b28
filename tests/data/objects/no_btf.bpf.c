/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled without -g: maps are known by name only. */
#include "object.h"

HASH_MAP(table);

SEC("kprobe/one")
int looks_up(void *ctx)
{
	__u32 key = 1;

	return bpf_map_lookup_elem(&table, &key) != 0;
}
