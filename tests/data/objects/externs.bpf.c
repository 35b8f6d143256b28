/* SPDX-License-Identifier: Apache-2.0 */
/* Names from outside: kernel functions, kernel symbols, kernel configuration, and one from nowhere. */
#include "object.h"

HASH_MAP(table);

extern void *bpf_rdonly_cast(const void *obj, __u32 id) __ksym;
extern void bpf_link_fops __ksym __weak;
extern int CONFIG_HZ __kconfig;
extern int elsewhere(__u64 argument);

SEC("fentry/one")
int kernel_function(__u64 *ctx)
{
	__u32 key = 1;

	return bpf_rdonly_cast(ctx, 1) != 0 && bpf_map_lookup_elem(&table, &key);
}

SEC("fentry/two")
int kernel_symbol(__u64 *ctx)
{
	return &bpf_link_fops != 0;
}

SEC("fentry/three")
int kernel_configuration(__u64 *ctx)
{
	return CONFIG_HZ;
}

SEC("fentry/four")
int undefined(__u64 *ctx)
{
	__u32 key = elsewhere(bpf_ktime_get_ns());

	return bpf_map_lookup_elem(&table, &key) != 0;
}
