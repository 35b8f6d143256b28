/* SPDX-License-Identifier: Apache-2.0 */
/* Datasources that are arrays: of what iterator programs write, and of what a map holds. */
#include "object.h"

struct entry {
	__u32 pid;
	char comm[16];
};

struct key {
	__u64 mntns_id;
};

struct value {
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct key);
	__type(value, struct value);
} counts SEC(".maps");

const void *gadget_iter_processes___entry___walk_tasks___walk_files;
const void *gadget_mapiter_totals___counts;
const struct entry *keep_entry;

SEC("iter/task")
int walk_tasks(void *ctx)
{
	struct key key = { 1 };
	struct value value = { 1 };

	bpf_map_update_elem(&counts, &key, &value, 0);
	return 0;
}

SEC("iter/task_file")
int walk_files(void *ctx)
{
	return 0;
}

SEC("?kprobe/one")
int optional(void *ctx)
{
	struct key key = { 1 };

	return bpf_map_lookup_elem(&counts, &key) != 0;
}
