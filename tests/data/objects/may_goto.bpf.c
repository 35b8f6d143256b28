/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that have names only since ig 0.54, and a data section whose name the kernel changes. */
#include "object.h"

HASH_MAP(counts);

SEC(".data.own-part") __u64 kept = 7;

SEC("kprobe/one")
int goes(void *ctx)
{
	__u32 key = 0;

	/* may_goto +1: jump over the next instruction, as encoded in Linux 6.9. */
	asm volatile(".byte 0xe5, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00\n"
		     "r0 = 0\n" ::: "r0");
	bpf_map_delete_elem(&counts, &key);
	return (int)kept;
}
