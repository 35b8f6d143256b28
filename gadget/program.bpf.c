// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * trace_malloc: every allocation and release that a process asks of its C
 * library, as one event each.
 *
 * A call is noted at its entry (`sizes`, and for posix_memalign `memptrs`) and
 * reported at its return, when the address is known. A release is reported at
 * its entry. One call of the program gives one allocation, however many of
 * the functions below the library calls inside it.
 */
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <gadget/buffer.h>
#include <gadget/common.h>
#include <gadget/filter.h>
#include <gadget/macros.h>
#include <gadget/types.h>
#include <gadget/user_stack_map.h>

#include "memop.h"

#define MAX_CALLS 10240

/*
 * So many returns inside one call are not nested calls any more: the owner of
 * the slot never returned, and was on another stack (a coroutine's).
 */
#define MAX_NESTED 16

#define EEXIST 17
#define MAP_FAILED ((__u64)-1)
/* In place of an address: the call is not reported. */
#define NO_EVENT ((__u64)-1)
/* A filter by user or group that is not set. */
#define NO_ID ((__u32)-1)

/* Keep one address in so many, together with its release; 1 keeps all. */
const volatile __u32 sample_every = 1;
GADGET_PARAM(sample_every);

/* Allocations of fewer bytes give no event. */
const volatile __u64 min_size = 0;
GADGET_PARAM(min_size);

/* The bits of an address inside a page: some machines have larger pages. */
const volatile __u64 page_mask = 0xfff;

/* For a reader with no other use for callers: to read one takes 0.2 us. */
const volatile bool callers_for_walks_only = false;

struct event {
	gadget_timestamp timestamp_raw;
	struct gadget_process proc;
	struct gadget_user_stack ustack;
	enum memop operation_raw;
	__u64 addr;   /* 0: the call failed */
	__u64 size;   /* as asked for; munmap: the length; other releases: 0 */
	__u64 lost;   /* events that are missing up to here */
	__u64 caller; /* return address of the call; 0: unreadable */
	__u64 slice;  /* number of the stack's slice; 0: none was wanted */
};

/* What a call gives back as it returns, if it succeeds; address 0: nothing. */
struct given_back {
	__u64 addr;
	__u64 size;
	__u64 timestamp; /* from then on another call may be given it; 0: never
			  */
};

/* A call that has not returned yet. */
struct call {
	__u64 size;
	__u64 sp; /* at entry */
	enum memop operation;
	__u16 nested; /* returns of deeper calls seen inside it */
	__u16 result; /* what it returns: RESULT_ADDRESS or another one */
	struct given_back old; /* RESULT_STATUS: where the address will be */
};

/* Where posix_memalign() puts the address of its block. */
struct memptr {
	__u64 addr;
	__u64 sp; /* at entry */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CALLS);
	__type(key, __u32); /* thread */
	__type(value, struct call);
} sizes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CALLS);
	__type(key, __u32); /* thread */
	__type(value, struct memptr);
} memptrs SEC(".maps");

GADGET_TRACER_MAP(events, 1024 * 256);
GADGET_TRACER(malloc, events, event);

#include "call_owner.h"
/* Sends slices through `events`, beside the events. */
#include "stack_slice.h"

#include "call_variants.h"
#include "own_calls.h"

/* Events that could not be delivered, and stacks that could not be kept. */
__u64 lost_events = 0;
__u64 failed_stacks = 0;
/* Of those lost: inside calls that never returned, not for want of room. */
__u64 given_up_events = 0;

/*
 * The diagrams read the instructions in their order. Saying which way is the
 * common one keeps that order the same under every version of clang.
 */
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

static __always_inline __u32 current_tid(void)
{
	return (__u32)bpf_get_current_pid_tgid();
}

static __always_inline void count_lost(__u64 events_count)
{
	__sync_fetch_and_add(&lost_events, events_count);
}

/*
 * All filters that need no map. The one that does is asked at the return,
 * where it stands in the diagrams.
 */
static __always_inline bool is_filtered_at_entry(void)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	gadget_comm comm[16] = {};
	__u64 uid_gid;

	if (gadget_should_discard_pid(pid_tgid >> 32) ||
	    gadget_should_discard_tid((__u32)pid_tgid))
		return true;
	/* To ask for these takes longer. */
	if (targ_uid != NO_ID || targ_gid != NO_ID) {
		uid_gid = bpf_get_current_uid_gid();
		if (gadget_should_discard_uid((__u32)uid_gid) ||
		    gadget_should_discard_gid(uid_gid >> 32))
			return true;
	}
	if (targ_comm[0] == '\0')
		return false;
	bpf_get_current_comm(comm, sizeof(comm));
	return gadget_should_discard_comm(comm);
}

/*
 * Whether the block at `addr` is among those kept. A multiplicative hash of
 * the address decides, so that the release decides alike without any state.
 */
static __always_inline bool is_sampled(__u64 addr)
{
	__u32 every = sample_every;

	if (every <= 1)
		return true;
	return (__u32)(((addr >> 4) * 0x9e3779b97f4a7c15ULL) >> 32) % every ==
	       0;
}

static __always_inline void count_failed_stack(struct event *event)
{
	if (collect_ustack && (__s32)event->ustack.stack_id < 0)
		__sync_fetch_and_add(&failed_stacks, 1);
}

/*
 * Where the call returns to. A walk by frame pointers begins with the function
 * and its caller's caller until the function has set up its frame, and skips
 * callers that have none; this one is always right. Probes at entry stand
 * before the stack pointer moves, and those at return instructions behind.
 */
static __always_inline __u64 caller_of(struct pt_regs *ctx,
				       enum probe_place place)
{
	__u64 caller = PT_REGS_IP(ctx);

	/* Else clang reads one of them through a pointer that it computes. */
	barrier_var(caller);
	if (place != PLACE_RETURNED)
		caller = return_address(ctx);
	return caller;
}

/* Without stacks there may be no use for it; a slice has it. */
static __always_inline bool needs_caller(__u64 slice)
{
	return !callers_for_walks_only ||
	       (collect_ustack && slice <= SLICE_MISSED);
}

/* `timestamp`: 0 is now. */
static __always_inline void send_event(struct pt_regs *ctx,
				       enum memop operation, __u64 addr,
				       __u64 size, enum probe_place place,
				       __u64 timestamp)
{
	__u64 slice = collect_slices ? take_slice(ctx, place) : 0;
	struct event *event = gadget_reserve_buf(&events, sizeof(*event));
	long error;

	if (unlikely(!event)) {
		count_lost(1);
		return;
	}
	gadget_process_populate(&event->proc);
	if (slice)
		__builtin_memset(&event->ustack, 0, sizeof(event->ustack));
	else
		gadget_get_user_stack(ctx, &event->ustack);
	count_failed_stack(event);
	event->operation_raw = operation;
	event->addr = addr;
	event->size = size;
	event->lost = lost_events;
	event->caller = needs_caller(slice) ? caller_of(ctx, place) : 0;
	event->slice = slice;
	event->timestamp_raw = timestamp ? timestamp : bpf_ktime_get_boot_ns();
	error = gadget_submit_buf(ctx, &events, event, sizeof(*event));
	/* Both ways of sending meet here, and so stand before what follows. */
	barrier_var(error);
	if (unlikely(error < 0))
		count_lost(1);
}

/*
 * Entry of an allocating call: the outermost one of the thread gets the slot.
 * Returns whether this one did.
 */
static __always_inline bool enter(struct pt_regs *ctx, struct call *call)
{
	__u32 tid = current_tid();
	int error; /* not long: before Linux 6.4 the upper half is undefined */

	if (is_filtered_at_entry())
		return false;
	call->sp = PT_REGS_SP(ctx);
	error = bpf_map_update_elem(&sizes, &tid, call, owner_flags(ctx, tid));
	if (!error)
		note_owner(ctx, tid);
	else if (error != -EEXIST)
		count_lost(1);
	return !error;
}

/* Entry of a function that returns a new block of `size` bytes. */
static __always_inline bool enter_allocator(struct pt_regs *ctx,
					    enum memop operation, __u64 size)
{
	__u64 variant = call_variant(ctx);
	struct call call = {.size = size, .operation = operation};

	if (variant) {
		call.size = variant_size(ctx, variant);
		call.result = variant_result(variant);
	}
	return enter(ctx, &call);
}

/*
 * Return of another call than the one in the slot: a nested one, unless there
 * have been so many that their owner must be gone. One at the owner's place is
 * a function to which the owner jumped, or the owner itself, whose return
 * several functions share.
 */
static __always_inline void leave_nested(struct pt_regs *ctx, struct call *call,
					 __u32 *tid)
{
	__u16 nested = call->nested + 1;

	if (is_return_of(ctx, call->sp))
		return;
	call->nested = nested;
	if (nested <= MAX_NESTED)
		return;
	bpf_map_delete_elem(&sizes, tid);
	forget_owner(*tid);
	count_lost(nested);
	__sync_fetch_and_add(&given_up_events, nested);
}

/*
 * The address that a variant's call gave, by what it returned; 0: it failed,
 * NO_EVENT: it changed nothing, or all that it did was said at its entry.
 */
static __always_inline __u64 variant_address(struct call *call, __u64 returned)
{
	switch (call->result) {
	case RESULT_STRING:
		call->size = returned ? string_bytes(returned) : 0;
		return returned;
	case RESULT_SAME_BLOCK:
		return returned ? call->old.addr : NO_EVENT;
	case RESULT_BLOCK_SIZE:
		return returned >= call->size ? call->old.addr : NO_EVENT;
	case RESULT_ADDRESS_OR_RELEASE:
		return returned ? returned : NO_EVENT;
	case RESULT_STATUS:
		return (int)returned ? 0 : user_pointer(call->old.addr);
	default:
		return returned;
	}
}

/* Whether a call that returns with `addr` is to be reported. */
static __always_inline bool is_wanted(enum memop operation, __u64 addr,
				      __u64 size)
{
	if (size < min_size)
		return false;
	/* realloc(p, 0) gave the block back: that is no failure. */
	if (operation == realloc && size == 0 && addr == 0)
		return false;
	/* Mappings may be released in parts, whose addresses hash otherwise. */
	return operation == mmap || addr == 0 || is_sampled(addr);
}

/* Whether calls that `operation` reports may give something back at return. */
static __always_inline bool may_give_back(enum memop operation)
{
	return operation == realloc || operation == mmap;
}

/*
 * Report what a call gave, and before it what it gave back. In one loop: the
 * event that is sent stands once in the diagrams.
 */
static __always_inline void send_change(struct pt_regs *ctx,
					enum memop operation, __u64 addr,
					__u64 size, enum probe_place place,
					struct given_back *old)
{
	enum memop released = operation == mmap ? munmap : realloc_free;
	bool is_allocation = !may_give_back(operation) || old->addr == 0;

#pragma clang loop unroll(disable)
	for (int i = is_allocation; i < 2; i++) {
		__u64 timestamp = i ? 0 : old->timestamp;

		if (i && !is_wanted(operation, addr, size))
			break;
		send_event(ctx, i ? operation : released, i ? addr : old->addr,
			   i ? size : old->size, place, timestamp);
	}
}

/*
 * Return of an allocating call, with what it returned; for the common kind the
 * address, 0 if it failed. Leaves nothing in `sizes`, whether the event is
 * wanted or not.
 */
static __always_inline int leave(struct pt_regs *ctx, enum memop operation,
				 __u64 addr)
{
	bool is_filtered = gadget_should_discard_data_current();
	__u32 tid = current_tid();
	struct call *call = bpf_map_lookup_elem(&sizes, &tid);
	struct given_back old = {};
	enum probe_place place;
	__u64 size;

	if (!call || call->operation != operation ||
	    !is_return_of(ctx, call->sp)) {
		if (unlikely(was_displaced(ctx, tid)))
			count_lost(!is_filtered);
		else if (call)
			leave_nested(ctx, call, &tid);
		return 0;
	}
	if (unlikely(call->result)) {
		addr = variant_address(call, addr);
		if (may_give_back(operation) && addr &&
		    call->result != RESULT_STATUS)
			old = call->old;
	}
	size = call->size;
	place = is_at_instruction(ctx, call->sp) ? PLACE_RETURN
						 : PLACE_RETURNED;
	bpf_map_delete_elem(&sizes, &tid);
	forget_owner(tid);
	if (is_filtered || addr == NO_EVENT)
		return 0;
	send_change(ctx, operation, addr, size, place, &old);
	return 0;
}

/* Entry of a call that gives memory back. */
static __always_inline void release(struct pt_regs *ctx, enum memop operation,
				    __u64 addr, __u64 size)
{
	if (unlikely(gadget_should_discard_data_current()))
		return;
	send_event(ctx, operation, addr, size, PLACE_ENTRY, 0);
}

/* The pair of probes of a function that returns what it allocated. */
#define ALLOCATOR(name, entry_size, ...)                  \
	SEC("uprobe/libc:" #name)                         \
	int BPF_UPROBE(trace_uprobe_##name, __VA_ARGS__)  \
	{                                                 \
		enter_allocator(ctx, name, entry_size);   \
		return 0;                                 \
	}                                                 \
                                                          \
	SEC("uretprobe/libc:" #name)                      \
	int trace_uretprobe_##name(struct pt_regs *ctx)   \
	{                                                 \
		return leave(ctx, name, PT_REGS_RC(ctx)); \
	}

ALLOCATOR(malloc, size, size_t size)
ALLOCATOR(calloc, saturating_product(count, size), size_t count, size_t size)
ALLOCATOR(aligned_alloc, size, size_t alignment, size_t size)
ALLOCATOR(memalign, size, size_t alignment, size_t size)
ALLOCATOR(valloc, size, size_t size)
ALLOCATOR(pvalloc, size, size_t size)

SEC("uprobe/libc:free")
int BPF_UPROBE(trace_uprobe_free, void *block)
{
	__u64 variant = call_variant(ctx);
	__u64 addr = variant ? variant_block(ctx, variant) : (__u64)block;
	__u32 tid = current_tid();
	__u8 hints = probe_hint(ctx);

	if (addr == 0)
		return 0;
	/* A call of free(), just before it is made. */
	if ((hints & (CALLS_RELEASE | IS_RELEASE)) == CALLS_RELEASE) {
		note_block(ctx, block_of(reallocations, tid), tid, addr, true);
		return 0;
	}
	note_block(ctx, block_of(releases, tid), tid, addr, false);
	if (!is_sampled(addr) || is_silent_release(ctx, tid, addr))
		return 0;
	release(ctx, free, addr, 0);
	return 0;
}

/*
 * Fill in the call of a variant of realloc(). Returns the block that it gives
 * back at its entry; 0 if there is none.
 */
static __always_inline __u64 note_reallocation(struct pt_regs *ctx,
					       __u64 variant, struct call *call)
{
	__u64 addr = variant_block(ctx, variant);

	call->size = variant_size(ctx, variant);
	call->result = variant_result(variant);
	switch (call->result) {
	case RESULT_SAME_BLOCK:
	case RESULT_BLOCK_SIZE:
		call->old.addr = addr;
		return 0;
	case RESULT_ADDRESS_OR_RELEASE:
		/* Without a block there is none to release. */
		if (addr == 0)
			call->result = RESULT_ADDRESS;
		return addr;
	case RESULT_STATUS:
		call->old.addr = addr;
		return user_pointer(addr);
	default:
		return addr;
	}
}

SEC("uprobe/libc:realloc")
int BPF_UPROBE(trace_uprobe_realloc, void *block, size_t size)
{
	struct call call = {.size = size, .operation = realloc};
	__u64 variant = call_variant(ctx);
	__u64 addr = (__u64)block;
	__u32 tid = current_tid();
	bool is_release;

	if (variant)
		addr = note_reallocation(ctx, variant, &call);
	/* In one reallocation there may be another one, and a free(). */
	is_release =
		likely(addr != 0) && likely(!is_silent_release(ctx, tid, addr));
	if (is_release)
		note_block(ctx, block_of(reallocations, tid), tid, addr, false);
	if (likely(is_release && is_sampled(addr)))
		release(ctx, realloc_free, addr, 0);
	enter(ctx, &call);
	return 0;
}

SEC("uretprobe/libc:realloc")
int trace_uretprobe_realloc(struct pt_regs *ctx)
{
	__u32 tid = current_tid();
	struct block *block = block_of(reallocations, tid);

	if (block->tid == tid && is_return_of(ctx, block->sp))
		block->addr = 0;
	return leave(ctx, realloc, PT_REGS_RC(ctx));
}

SEC("uprobe/libc:mmap")
int BPF_UPROBE(trace_uprobe_mmap, void *hint, size_t length)
{
	struct call call = {.size = length, .operation = mmap};
	struct block *block = block_of(releases, current_tid());
	__u64 variant = call_variant(ctx);

	forget_displaced(ctx, current_tid());
	if (is_own_code(ctx))
		return 0;
	/* It may be put where the block was that was released last. */
	block->addr = 0;
	if (variant) {
		call.size = variant_size(ctx, variant);
		call.result = variant_result(variant);
		if (gives_mapping_back(ctx)) {
			call.old.addr = variant_block(ctx, variant);
			call.old.size = PT_REGS_PARM2(ctx);
			call.old.timestamp = bpf_ktime_get_boot_ns();
		}
	}
	enter(ctx, &call);
	return 0;
}

SEC("uretprobe/libc:mmap")
int trace_uretprobe_mmap(struct pt_regs *ctx)
{
	__u64 addr = PT_REGS_RC(ctx);

	return leave(ctx, mmap, addr == MAP_FAILED ? 0 : addr);
}

SEC("uprobe/libc:munmap")
int BPF_UPROBE(trace_uprobe_munmap, void *start, size_t length)
{
	__u64 addr = (__u64)start;

	/* Both are refused by the kernel (EINVAL): nothing is released. */
	if (length == 0 || addr & page_mask)
		return 0;
	if (is_own_munmap(ctx, addr, length))
		return 0;
	release(ctx, munmap, addr, length);
	return 0;
}

SEC("uprobe/libc:posix_memalign")
int BPF_UPROBE(trace_uprobe_posix_memalign, void **memptr, size_t alignment,
	       size_t size)
{
	struct memptr value = {(__u64)memptr, PT_REGS_SP(ctx)};
	__u32 tid = current_tid();
	int error;

	if (is_filtered_at_entry())
		return 0;
	error = bpf_map_update_elem(&memptrs, &tid, &value,
				    owner_flags(ctx, tid));
	if (error && error != -EEXIST) {
		count_lost(1);
		return 0;
	}
	/* What was there is of a call that never returned. */
	if (enter_allocator(ctx, posix_memalign, size) && error)
		bpf_map_update_elem(&memptrs, &tid, &value, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc:posix_memalign")
int trace_uretprobe_posix_memalign(struct pt_regs *ctx)
{
	__u32 tid = current_tid();
	struct memptr *memptr = bpf_map_lookup_elem(&memptrs, &tid);
	void *memptr_addr;
	__u64 addr = 0;

	if (!memptr || !is_return_of(ctx, memptr->sp))
		return 0;
	memptr_addr = (void *)memptr->addr;
	bpf_map_delete_elem(&memptrs, &tid);
	/* *memptr is undefined after a failure. */
	if ((int)PT_REGS_RC(ctx) == 0)
		bpf_probe_read_user(&addr, sizeof(addr), memptr_addr);
	return leave(ctx, posix_memalign, addr);
}

SEC("tracepoint/sched/sched_process_exit")
int trace_sched_process_exit(void *ctx)
{
	__u32 tid = current_tid();

	bpf_map_delete_elem(&sizes, &tid);
	bpf_map_delete_elem(&memptrs, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
