/* SPDX-License-Identifier: Apache-2.0 */
/* Every verb of a map helper, and which of them become one arrow of a flowchart. */
#include "object.h"

HASH_MAP(table);

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 16);
	__type(value, __u64);
} line SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("kprobe/one")
int all_three(void *ctx)
{
	__u32 key = 1;
	__u64 value = 2;

	bpf_map_delete_elem(&table, &key);
	bpf_map_update_elem(&table, &key, &value, 0);
	return bpf_map_lookup_elem(&table, &key) != 0;
}

SEC("kprobe/two")
int each_once(void *ctx)
{
	__u32 key = 1;
	__u64 value = 2;

	bpf_map_update_elem(&table, &key, &value, 0);
	bpf_map_update_elem(&table, &key, &value, 1);
	return 0;
}

SEC("kprobe/three")
int queue(void *ctx)
{
	__u64 value = 2;

	bpf_map_push_elem(&line, &value, 0);
	bpf_map_peek_elem(&line, &value);
	bpf_map_pop_elem(&line, &value);
	return 0;
}

SEC("kprobe/four")
int percpu_first(void *ctx)
{
	__u32 key = 0;
	__u64 value = 2;

	if (!bpf_map_lookup_percpu_elem(&counters, &key, 0))
		return 0;
	bpf_map_update_elem(&counters, &key, &value, 0);
	return bpf_map_lookup_elem(&counters, &key) != 0;
}

SEC("kprobe/five")
int percpu_last(void *ctx)
{
	__u32 key = 0;
	__u64 value = 2;

	bpf_map_update_elem(&counters, &key, &value, 0);
	if (!bpf_map_lookup_elem(&counters, &key))
		return 0;
	return bpf_map_lookup_percpu_elem(&counters, &key, 0) != 0;
}

SEC("kprobe/six")
int output(void *ctx)
{
	__u64 value = 2;

	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &value, sizeof(value));
	return 0;
}
