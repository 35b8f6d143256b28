/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled for big-endian machines. */
#include "object.h"

HASH_MAP(table);

const volatile __u32 parameter = 0x01020304;
const void *gadget_param_parameter;

SEC("kprobe/one")
int looks_up(void *ctx)
{
	__u32 key = parameter;

	return bpf_map_lookup_elem(&table, &key) != 0;
}
