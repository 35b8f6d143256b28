/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers that use maps and make no edge. */
#include "object.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(key_size, 4);
	__uint(value_size, 8 * 127);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

SEC("kprobe/one")
int records(void *ctx)
{
	__u64 *room = bpf_ringbuf_reserve(&ring, sizeof(*room), 0);

	if (!room)
		return 0;
	*room = bpf_get_stackid(ctx, &stacks, 0);
	bpf_ringbuf_submit(room, 0);
	return 0;
}

SEC("kprobe/two")
int stores(void *ctx)
{
	return bpf_task_storage_get(&storage, (void *)bpf_get_current_task(), 0, 1) != 0;
}
