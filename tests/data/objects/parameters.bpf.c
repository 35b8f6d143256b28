/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of every kind, with the names that ig's own headers use among them. */
#include "object.h"

typedef __u32 gadget_pid;
typedef char gadget_comm;
typedef _Bool bool;

enum level {
	LOW,
	HIGH,
};

struct gadget_l3endpoint_t {
	__u8 address[16];
	__u8 version;
};

#define PARAM(name) const void *gadget_param_##name

const volatile gadget_pid targ_pid = 0;
const volatile __u32 targ_tid = 7;
const volatile gadget_comm targ_comm[16] = "";
const volatile bool collect_ustack = 0;
const volatile bool on = 1;
const volatile __s64 negative = -5;
const volatile __u64 largest = 0xffffffffffffffff;
const volatile __u16 small SEC(".rodata.own") = 515;
const volatile char letter = 'x';
const volatile double real = 1.5;
const volatile enum level level = HIGH;
const volatile __u32 several[2] = { 1, 2 };
const volatile struct gadget_l3endpoint_t address = {};

PARAM(targ_pid);
PARAM(targ_tid);
PARAM(targ_comm);
PARAM(collect_ustack);
PARAM(on);
PARAM(negative);
PARAM(largest);
PARAM(small);
PARAM(letter);
PARAM(real);
PARAM(level);
PARAM(several);
PARAM(address);

SEC("kprobe/one")
int reads(void *ctx)
{
	return targ_pid + targ_tid + targ_comm[0] + collect_ustack + on + negative + largest + small;
}
