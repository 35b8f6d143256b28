/* SPDX-License-Identifier: Apache-2.0 */
/* A map chosen by a branch: the load that stands last wins, whatever is taken at run time. */
#include "object.h"

HASH_MAP(first);
HASH_MAP(second);

SEC("kprobe/one")
int choose(void *ctx)
{
	__u32 key = bpf_get_smp_processor_id();
	void *map = &first;

	if (bpf_ktime_get_ns() & 1)
		map = &second;
	return bpf_map_lookup_elem(map, &key) != 0;
}
