/* SPDX-License-Identifier: Apache-2.0 */
/* Maps as they were defined before BTF: a struct of five numbers in the section `maps`. */
#include "object.h"

struct definition {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

struct definition SEC("maps") old_table = { BPF_MAP_TYPE_HASH, 4, 8, 16, BPF_F_NO_PREALLOC };
struct definition SEC("maps") old_array = { BPF_MAP_TYPE_ARRAY, 4, 2, 1, 0 };

SEC("kprobe/one")
int looks_up(void *ctx)
{
	__u32 key = 1;

	return bpf_map_lookup_elem(&old_table, &key) || bpf_map_update_elem(&old_array, &key, &key, 0);
}
