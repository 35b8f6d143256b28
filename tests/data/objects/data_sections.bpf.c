/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data sections become maps of their own, drawn unless they are exactly .rodata or .bss. Static
 * variables have no symbol that others see; hidden ones are no variables either.
 */
#include "object.h"

HASH_MAP(table);

int initialised = 7;
static volatile int kept_private = 3;
const volatile int constant = 5;
const volatile int in_own_section SEC(".rodata.own") = 6;
int data_in_own_section SEC(".data.own") = 8;
int zero;
__hidden int unseen = 9;
const char text[16] = "a text";

SEC("kprobe/one")
int reads(void *ctx)
{
	__u32 key = initialised + kept_private + constant + in_own_section;

	zero = key;
	unseen++;
	data_in_own_section++;
	bpf_trace_printk(text, sizeof(text));
	return bpf_map_lookup_elem(&table, &key) != 0;
}

SEC("kprobe/two")
int data_passed_on(void *ctx)
{
	int *address = &initialised;

	asm volatile("r1 = %0" : : "r"(address) : "r1");
	return bpf_map_lookup_elem((void *)&in_own_section, address) != 0;
}
