/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which call owns its thread's entry in `sizes`: the outermost one.
 *
 * Calls are told apart by the stack pointer at their entry. A nested call lies
 * deeper than the owner. A call at the owner's place or above it shows that
 * the owner is gone without a return: an exception, or a longjmp().
 */
#ifndef __CALL_OWNER_H
#define __CALL_OWNER_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define OWNER_SLOTS 4096
#define DISPLACED_SLOTS 256

/* An owner's word: its thread's number, a mark, its place on the stack. */
#define OWNER_TID_SHIFT 54
#define OWNER_MARK_SHIFT 45
#define OWNER_MARK_MASK 0x1ff
#define OWNER_PLACE_MASK ((1ULL << OWNER_MARK_SHIFT) - 1)

/* A displaced owner's word: its thread's number, its place on the stack. */
#define DISPLACED_TID_SHIFT 42
#define DISPLACED_PLACE_MASK ((1ULL << DISPLACED_TID_SHIFT) - 1)

/* Marks: nobody knows, or a return probe's address, or a hash above these. */
#define MARK_NONE 0
#define MARK_TRAMPOLINE 1

/* What is known of an instruction with a probe: how calls return that enter */
#define RETURNS_TO_TRAMPOLINE 1
#define RETURNS_BY_INSTRUCTION 2
/* there, and whether it is free() itself, or a call of it that is no event. */
#define IS_RELEASE 4
#define CALLS_RELEASE 8

/*
 * Where on the stack each thread's latest owner was entered, in a slot chosen
 * by the thread's number: in one word, so that two threads of one slot never
 * see a mixture. A thread that finds the other's word knows nothing.
 */
__u64 owners[OWNER_SLOTS] = {};

/*
 * The latest owner of each thread that lost its entry to a call which took it
 * for gone. If it returns all the same, it was interrupted by a signal whose
 * handler runs on another stack: above, or while the kernel's return trampoline
 * had its own data where the return address had been. One word each: the
 * thread's number and the place on the stack.
 */
__u64 displaced[DISPLACED_SLOTS] = {};

/*
 * By the place of an instruction in its page: the bits above. Set by who
 * attaches; 0 where nothing is known.
 */
__u8 probe_hints[4096] = {};

struct xol_area___owner {
	unsigned long vaddr;
} __attribute__((preserve_access_index));

struct uprobes_state___owner {
	struct xol_area___owner *xol_area;
} __attribute__((preserve_access_index));

struct mm_struct___owner {
	struct uprobes_state___owner uprobes_state;
} __attribute__((preserve_access_index));

struct task_struct___owner {
	struct mm_struct___owner *mm;
} __attribute__((preserve_access_index));

static __always_inline __u64 owner_place(__u64 sp)
{
	return (sp >> 3) & OWNER_PLACE_MASK;
}

/* Where the kernel lets functions return to that have a return probe, or 0. */
static __always_inline __u64 return_trampoline(void)
{
	struct task_struct___owner *task = (void *)bpf_get_current_task();
	struct xol_area___owner *area = NULL;

	if (!bpf_core_field_exists(area->vaddr))
		return 0;
	area = BPF_CORE_READ(task, mm, uprobes_state.xol_area);
	return area ? BPF_CORE_READ(area, vaddr) : 0;
}

/* At a function's entry: where it returns to; 0 if that cannot be read. */
static __always_inline __u64 return_address(struct pt_regs *ctx)
{
#if defined(__TARGET_ARCH_x86)
	__u64 address = 0;

	bpf_probe_read_user(&address, sizeof(address), (void *)PT_REGS_SP(ctx));
	return address;
#else
	return PT_REGS_RET(ctx);
#endif
}

static __always_inline __u8 probe_hint(struct pt_regs *ctx)
{
	return probe_hints[PT_REGS_IP(ctx) & 0xfff];
}

#if defined(__TARGET_ARCH_x86)

static __always_inline __u64 address_mark(__u64 address)
{
	return (address * 0x9e3779b97f4a7c15ULL >> 55) | 2;
}

/* What to know the entering call's return address by, while it is inside. */
static __always_inline __u64 entry_mark(struct pt_regs *ctx)
{
	__u8 hints = probe_hint(ctx);

	if (hints & RETURNS_BY_INSTRUCTION)
		return address_mark(return_address(ctx));
	return hints & RETURNS_TO_TRAMPOLINE ? MARK_TRAMPOLINE : MARK_NONE;
}

/*
 * Whether an owner is gone, although what enters lies deeper: the return
 * address has been overwritten. To read it takes as long as to see a call.
 */
static __always_inline bool is_owner_gone(__u64 owner)
{
	__u64 mark = owner >> OWNER_MARK_SHIFT & OWNER_MARK_MASK;
	__u64 trampoline, address = 0;

	if (mark == MARK_NONE)
		return false;
	bpf_probe_read_user(&address, sizeof(address),
			    (void *)((owner & OWNER_PLACE_MASK) << 3));
	if (mark != MARK_TRAMPOLINE && address_mark(address) == mark)
		return false;
	trampoline = return_trampoline();
	return trampoline && address != trampoline;
}

#else

/* The return address lies anywhere in the frame. */
static __always_inline __u64 entry_mark(struct pt_regs *ctx)
{
	return MARK_NONE;
}

static __always_inline bool is_owner_gone(__u64 owner)
{
	return false;
}

#endif

static __always_inline __u64 *displaced_of(__u32 tid)
{
	return &displaced[tid % DISPLACED_SLOTS];
}

static __always_inline __u64 displaced_word(__u32 tid, __u64 place)
{
	return (__u64)tid << DISPLACED_TID_SHIFT |
	       (place & DISPLACED_PLACE_MASK);
}

/*
 * A call enters: an owner that was displaced at this place is gone, as its
 * stack is in use again.
 */
static __always_inline void forget_displaced(struct pt_regs *ctx, __u32 tid)
{
	__u64 *word = displaced_of(tid);

	if (*word && *word == displaced_word(tid, owner_place(PT_REGS_SP(ctx))))
		*word = 0;
}

/*
 * Whether what returns is the thread's displaced owner, which then is none any
 * more.
 */
static __always_inline bool was_displaced(struct pt_regs *ctx, __u32 tid)
{
	__u64 *word = displaced_of(tid);
	__u64 place = owner_place(PT_REGS_SP(ctx));
	bool was = *word == displaced_word(tid, place);

	if (*word == 0)
		return false;
#if defined(__TARGET_ARCH_x86)
	/* As in is_return_of(). */
	was |= *word == displaced_word(tid, place - 1);
#endif
	if (was)
		*word = 0;
	return was;
}

/*
 * How an entering call asks for the thread's entry in `sizes`: BPF_ANY takes
 * it from an owner that is gone, BPF_NOEXIST leaves it to one that is not. A
 * function that jumps on to another one, as memalign() to aligned_alloc(),
 * enters twice at one place: its return address is the trampoline by then.
 */
static __always_inline __u64 owner_flags(struct pt_regs *ctx, __u32 tid)
{
	__u64 owner = owners[tid % OWNER_SLOTS];
	__u64 place = owner_place(PT_REGS_SP(ctx));
	__u64 trampoline;

	forget_displaced(ctx, tid);
	if (owner >> OWNER_TID_SHIFT != tid / OWNER_SLOTS)
		return BPF_NOEXIST;
	if (place != (owner & OWNER_PLACE_MASK)) {
		if (place < (owner & OWNER_PLACE_MASK) && !is_owner_gone(owner))
			return BPF_NOEXIST;
		/* The place is 0 where no call owned the entry. */
		if (owner & OWNER_PLACE_MASK)
			*displaced_of(tid) = displaced_word(
				tid, owner & OWNER_PLACE_MASK);
		return BPF_ANY;
	}
	trampoline = return_trampoline();
	return trampoline && return_address(ctx) == trampoline ? BPF_NOEXIST
							       : BPF_ANY;
}

/* The entering call owns the thread's entry now. */
static __always_inline void note_owner(struct pt_regs *ctx, __u32 tid)
{
	owners[tid % OWNER_SLOTS] = (__u64)(tid / OWNER_SLOTS)
					    << OWNER_TID_SHIFT |
				    entry_mark(ctx) << OWNER_MARK_SHIFT |
				    owner_place(PT_REGS_SP(ctx));
}

/* Whether what enters is certainly inside the call that owns the entry. */
static __always_inline bool is_inside_owner(struct pt_regs *ctx, __u32 tid)
{
	__u64 owner = owners[tid % OWNER_SLOTS];

	return owner >> OWNER_TID_SHIFT == tid / OWNER_SLOTS &&
	       (owner >> OWNER_MARK_SHIFT & OWNER_MARK_MASK) != MARK_NONE &&
	       owner_place(PT_REGS_SP(ctx)) < (owner & OWNER_PLACE_MASK) &&
	       !is_owner_gone(owner);
}

/* The thread has no call any more: what enters next need not look for one. */
static __always_inline void forget_owner(__u32 tid)
{
	__u64 *owner = &owners[tid % OWNER_SLOTS];

	if (*owner >> OWNER_TID_SHIFT == tid / OWNER_SLOTS)
		*owner &= ~0ULL << OWNER_TID_SHIFT;
}

/*
 * Whether it is the call entered at `sp` that returns. A trampoline has popped
 * the return address (x86), a `ret` instruction has it still on the stack.
 */
static __always_inline bool is_return_of(struct pt_regs *ctx, __u64 sp)
{
	__u64 now = PT_REGS_SP(ctx);

#if defined(__TARGET_ARCH_x86)
	return now == sp || now == sp + 8;
#else
	return now == sp;
#endif
}

/*
 * Whether the call entered at `sp` is seen at its return instruction, where
 * the return address is still to be used.
 */
static __always_inline bool is_at_instruction(struct pt_regs *ctx, __u64 sp)
{
#if defined(__TARGET_ARCH_x86)
	return PT_REGS_SP(ctx) == sp;
#else
	return PT_REGS_RET(ctx) != return_trampoline();
#endif
}

#endif /* __CALL_OWNER_H */
