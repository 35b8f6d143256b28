/* SPDX-License-Identifier: Apache-2.0 */
/* From a call to an event in the ring buffer. */
#include "report.h"
#include "stacks.h"

/*
 * Whether the block at `address` is among those kept, with its release: as the
 * gadget decides (program.bpf.c).
 */
static bool is_sampled(uint64_t address)
{
	uint32_t every = READ(ring.reader->sample_every);

	if (every <= 1)
		return true;
	return (uint32_t)(((address >> 4) * 0x9e3779b97f4a7c15ULL) >> 32) %
		       every ==
	       0;
}

static bool is_wanted(void)
{
	uint32_t only = READ(ring.reader->only_pid);

	if (is_same_process && UNLIKELY(!READ(*is_same_process)))
		follow_fork();
	if (UNLIKELY(this_thread.pid != ring.pid))
		identify_thread();
	return only == 0 || only == ring.pid;
}

static void report_event(struct frame caller, uint32_t operation,
			 uint64_t address, uint64_t size, uint64_t timestamp)
{
	struct event *event;
	uint64_t slice;

	slice = READ(ring.reader->collect_stacks) ? stack_number(caller) : 0;
	event = ring_reserve(&ring, sizeof(*event));
	if (UNLIKELY(!event)) {
		ring_lose(&ring);
		return;
	}
	event->pid = this_thread.pid;
	event->tid = this_thread.tid;
	event->operation_raw = operation;
	event->samples = 0;
	event->addr = address;
	event->size = size;
	event->lost = READ(ring.writer->lost_events);
	event->slice = slice;
	event->timestamp_raw = timestamp ? timestamp : now_ns(CLOCK_BOOTTIME);
	ring_submit(event);
}

void report_allocation(struct call *call, uint32_t operation, uint64_t address,
		       uint64_t size)
{
	if (!call->is_outermost || !is_recorded() || !is_wanted())
		return;
	if (size < READ(ring.reader->min_size))
		return;
	/* Mappings may be released in parts, whose addresses hash otherwise. */
	if (operation != OPERATION_mmap && address != 0 && !is_sampled(address))
		return;
	report_event(call->caller, operation, address, size, 0);
}

void report_release_at(struct frame caller, uint32_t operation,
		       uint64_t address, uint64_t size, uint64_t timestamp)
{
	if (!is_recorded() || !is_wanted())
		return;
	if (operation != OPERATION_munmap && !is_sampled(address))
		return;
	report_event(caller, operation, address, size, timestamp);
}

void report_release(struct frame caller, uint32_t operation, uint64_t address,
		    uint64_t size)
{
	report_release_at(caller, operation, address, size, 0);
}
