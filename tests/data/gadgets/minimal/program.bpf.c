/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A gadget with one of everything that gadget.yaml can name: tests copy it and change it. */
#include "minimal.h"
#include <bpf/bpf_helpers.h>

enum minimal_operation { minimal_free };

struct event {
	gadget_timestamp timestamp_raw;
	enum minimal_operation operation_raw;
	__u64 size;
	__u64 __private;
};

const volatile __u64 min_size = 1;
GADGET_PARAM(min_size);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
GADGET_TRACER(frees, events, event);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} sizes SEC(".maps");

SEC("uprobe/libc:free")
int trace_free(void *ctx)
{
	__u32 key = bpf_get_current_pid_tgid();
	__u64 *size = bpf_map_lookup_elem(&sizes, &key);
	struct event *event;

	if (!size || *size < min_size)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	event->operation_raw = minimal_free;
	event->size = *size;
	event->__private = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
