/* SPDX-License-Identifier: Apache-2.0 */
/* What every object here needs. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define HASH_MAP(name)                               \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_HASH);     \
		__uint(max_entries, 16);             \
		__type(key, __u32);                  \
		__type(value, __u64);                \
	} name SEC(".maps")

char LICENSE[] SEC("license") = "GPL";
