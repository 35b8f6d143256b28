/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One event for each program that is executed, with how many its user ran. */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include <gadget/buffer.h>
#include <gadget/common.h>
#include <gadget/filter.h>
#include <gadget/macros.h>
#include <gadget/types.h>

#define MAX_USERS 1024

/* Users with fewer executions are not shown. */
const volatile __u64 min_executions = 1;
GADGET_PARAM(min_executions);

struct event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	__u64 executions; /* of this user so far, this one included */
};

GADGET_TRACER_MAP(events, 256 * 1024);
GADGET_TRACER(executions, events, event);

/* user id -> how many programs it executed */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_USERS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Count one more execution of this user; 0 where there is no room. */
static __always_inline __u64 count_execution(void)
{
	__u32 uid = (__u32)bpf_get_current_uid_gid();
	__u64 *count = bpf_map_lookup_elem(&counts, &uid);
	__u64 first = 1;

	if (count)
		return __sync_fetch_and_add(count, 1) + 1;
	return bpf_map_update_elem(&counts, &uid, &first, BPF_ANY) ? 0 : first;
}

SEC("tracepoint/sched/sched_process_exec")
int trace_sched_process_exec(void *ctx)
{
	struct event *event;
	__u64 executions;

	if (gadget_should_discard_data_current())
		return 0;
	executions = count_execution();
	if (executions < min_executions)
		return 0;
	event = gadget_reserve_buf(&events, sizeof(*event));
	if (!event)
		return 0;
	event->timestamp_raw = bpf_ktime_get_boot_ns();
	gadget_process_populate(&event->proc);
	event->executions = executions;
	gadget_submit_buf(ctx, &events, event, sizeof(*event));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
