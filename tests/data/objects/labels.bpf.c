/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Labels of inline assembler are local symbols without a type. Until 0.50, ig begins a function at each, so
 * that a program ends early and others come up; since 0.51 it passes over them.
 */
#include "object.h"

HASH_MAP(before_label);
HASH_MAP(after_label);

SEC("kprobe/one")
int labelled(void *ctx)
{
	__u32 key = 0;
	__u64 counter = bpf_ktime_get_ns();

	bpf_map_lookup_elem(&before_label, &key);
	asm volatile("again: if %0 > 7 goto done\n"
		     "%0 += 1\n"
		     "goto again\n"
		     "done: %0 += 0\n"
		     : "+r"(counter));
	key = (__u32)counter;
	bpf_map_delete_elem(&after_label, &key);
	return 0;
}
