/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk takes one look into a table for each frame: rules are computed once
 * for each place in code. Code without call frame information is walked by
 * frame pointers, as that of just-in-time compilers.
 *
 * A word of the stack is read only where it is known to be readable. Of the
 * first thread's stack that is known; of others, each page is asked for once,
 * so that a wrong turn ends a walk and not the program.
 */
#include "cfi.h"
#include "process.h"

#define RULE_BITS 14
#define PAGE_BYTES 4096UL
#define MAX_STACK_BYTES (64UL << 20)
/* How far above what is known to be readable a frame may be. */
#define MAX_REACH_BYTES (1UL << 20)
/* So often what is mapped is looked at for the sake of code without rules. */
#define MAX_UNKNOWN 1000

/*
 * A rule in 8 bytes: frame (24 bits), what was saved where (16 and 16), and
 * the kind of step.
 */
#define FRAME_SHIFT 40
#define BP_SHIFT 24
#define RA_SHIFT 8
#define IS_PACKED 0x80

/*
 * Whoever finds `check ^ rule` to be the code's address has both words of one
 * rule, however many write here at once.
 */
static struct known_rule {
	uint64_t check;
	uint64_t rule;
} known_rules[1 << RULE_BITS];

/* Rules of before are not those of now: mixed into addresses. */
static uint64_t rules_age = 1;

uint32_t stacks_unmapped;
bool has_new_code;
static uint32_t n_unknown;
static uintptr_t first_stack_end;

void walk_prepare(void)
{
	uintptr_t end = getauxval(AT_EXECFN);

	first_stack_end = end ? end & ~7UL : getauxval(AT_RANDOM) & ~7UL;
}

void walk_forget_rules(void)
{
	ADD(rules_age, 1);
	ADD(stacks_unmapped, 1);
}

static uint64_t packed(const struct cfi_rule *rule)
{
	return (uint64_t)(uint32_t)rule->frame << FRAME_SHIFT |
	       (uint64_t)(uint16_t)rule->bp << BP_SHIFT |
	       (uint64_t)(uint16_t)rule->return_address << RA_SHIFT |
	       IS_PACKED | rule->step;
}

static int64_t frame_of(uint64_t rule)
{
	return (int64_t)rule >> FRAME_SHIFT;
}

static int64_t bp_of(uint64_t rule)
{
	return (int16_t)(rule >> BP_SHIFT);
}

static int64_t return_address_of(uint64_t rule)
{
	return (int16_t)(rule >> RA_SHIFT);
}

static enum step step_of(uint64_t rule)
{
	return rule & (IS_PACKED - 1);
}

static NOINLINE uint64_t find_rule(uintptr_t pc)
{
	struct cfi_rule rule;

	if (!cfi_find(pc, &rule) || rule.frame >= 1 << 23 ||
	    rule.frame < -(1 << 23))
		rule = (struct cfi_rule){0, NOT_SAVED, NOT_SAVED, STEP_UNKNOWN};
	/* Generated code comes all the time, and what is no code at all. */
	if (!is_reported(pc) &&
	    (rule.step != STEP_UNKNOWN || ADD(n_unknown, 1) < MAX_UNKNOWN))
		WRITE(has_new_code, true);
	return packed(&rule);
}

static uint64_t rule_of(uintptr_t pc)
{
	uint64_t key = pc ^ READ(rules_age) << 48;
	uint64_t hash = (pc * 0x9e3779b97f4a7c15ULL) >> (64 - RULE_BITS);
	struct known_rule *known = &known_rules[hash];
	uint64_t rule = READ(known->rule);

	if (LIKELY((READ(known->check) ^ rule) == key))
		return rule;
	rule = find_rule(pc);
	WRITE(known->rule, rule);
	WRITE(known->check, key ^ rule);
	return rule;
}

/*
 * Whether the kernel can read at `address`. It reads what it is to do before
 * it says that it does not know how.
 */
static bool is_readable(uintptr_t address)
{
	return SYSTEM_CALL(NR_RT_SIGPROCMASK, -1, address, 0, 8) != -EFAULT;
}

/* Begin with the stack that `sp` is on. */
static NOINLINE void begin_on(struct readable *readable, uintptr_t sp)
{
	readable->n_unmapped = READ(stacks_unmapped);
	if (first_stack_end - sp < MAX_STACK_BYTES) {
		readable->low = first_stack_end - MAX_STACK_BYTES;
		readable->high = first_stack_end;
		return;
	}
	readable->low = sp & ~(PAGE_BYTES - 1);
	readable->high = readable->low + PAGE_BYTES;
}

/* Whether all is readable from what is known to be up to `address`. */
static NOINLINE bool extend_to(struct readable *readable, uintptr_t address)
{
	if (address < readable->high ||
	    address - readable->high > MAX_REACH_BYTES ||
	    readable->high == first_stack_end)
		return false;
	while (readable->high <= address) {
		if (!is_readable(readable->high))
			return false;
		readable->high += PAGE_BYTES;
	}
	return true;
}

/* The word at `address`, above `sp`; false where it cannot be read. */
ALWAYS_INLINE bool word_at(struct readable *readable, uintptr_t sp,
			   uintptr_t address, uintptr_t *word)
{
	if (UNLIKELY(address < sp || address & 7))
		return false;
	if (UNLIKELY(address >= readable->high) &&
	    !extend_to(readable, address))
		return false;
	*word = *(uintptr_t *)address;
	return true;
}

/* Return addresses may be signed, in bits that addresses have not. */
static uintptr_t without_signature(uintptr_t address)
{
#if defined(__aarch64__)
	register uintptr_t x30 __asm__("x30") = address;

	__asm__("xpaclri" : "+r"(x30));
	return x30;
#else
	return address;
#endif
}

/* Where the kernel keeps what a signal interrupted, above the stack pointer. */
#if defined(__x86_64__)
#define SIGNAL_BP 120
#define SIGNAL_SP 160
#define SIGNAL_PC 168
#else
#define SIGNAL_BP (128 + 416)
#define SIGNAL_SP (128 + 432)
#define SIGNAL_PC (128 + 440)
#endif

static bool step_over_signal(struct readable *readable, struct frame *frame)
{
	struct frame outer;

	if (!word_at(readable, frame->sp, frame->sp + SIGNAL_BP, &outer.bp) ||
	    !word_at(readable, frame->sp, frame->sp + SIGNAL_SP, &outer.sp) ||
	    !word_at(readable, frame->sp, frame->sp + SIGNAL_PC, &outer.pc))
		return false;
	*frame = outer;
	if (outer.sp < readable->low || outer.sp >= readable->high)
		begin_on(readable, outer.sp);
	return true;
}

/* By frame pointers: bp points at the caller's, beside the return address. */
static bool step_by_pointers(struct readable *readable, struct frame *frame)
{
	struct frame outer = {.sp = frame->bp + 16};

	if (frame->bp < frame->sp || frame->bp - frame->sp > MAX_REACH_BYTES ||
	    !word_at(readable, frame->sp, frame->bp, &outer.bp) ||
	    !word_at(readable, frame->sp, frame->bp + 8, &outer.pc))
		return false;
	*frame = outer;
	return true;
}

/* From a frame to its caller's; false where the stack ends. */
ALWAYS_INLINE bool step(struct readable *readable, struct frame *frame,
			bool *is_exact)
{
	uint64_t rule = rule_of(frame->pc - !*is_exact);
	uintptr_t sp = frame->sp, cfa;
	enum step kind = step_of(rule);

	if (LIKELY(kind == STEP_BY_SP)) {
		cfa = sp + (uintptr_t)frame_of(rule);
	} else if (kind == STEP_BY_BP) {
		cfa = frame->bp + (uintptr_t)frame_of(rule);
	} else if (kind == STEP_BY_SAVED) {
		if (!word_at(readable, sp,
			     frame->bp + (uintptr_t)frame_of(rule), &cfa))
			return false;
	} else if (kind == STEP_SIGNAL) {
		*is_exact = true;
		return step_over_signal(readable, frame);
	} else {
		*is_exact = false;
		return kind == STEP_UNKNOWN &&
		       step_by_pointers(readable, frame);
	}
	if (cfa <= sp && return_address_of(rule) != NOT_SAVED)
		return false;
	/* Only a leaf, or what a signal interrupted, has not saved it. */
	if (return_address_of(rule) == NOT_SAVED ||
	    !word_at(readable, sp, cfa + (uintptr_t)return_address_of(rule),
		     &frame->pc))
		return false;
	if (bp_of(rule) == SAVED_AT_BP) {
		if (!word_at(readable, sp, frame->bp, &frame->bp))
			return false;
	} else if (bp_of(rule) != NOT_SAVED &&
		   !word_at(readable, sp, cfa + (uintptr_t)bp_of(rule),
			    &frame->bp)) {
		return false;
	}
	frame->sp = cfa;
	*is_exact = false;
	return true;
}

void walk_stack(struct readable *readable, struct frame frame,
		struct walk *walk)
{
	bool is_exact = false;

	if (frame.sp < readable->low || frame.sp >= readable->high ||
	    readable->n_unmapped != READ(stacks_unmapped))
		begin_on(readable, frame.sp);
	while (frame.pc != 0 && walk->n_frames < MAX_FRAMES) {
		walk->pcs[walk->n_frames++] = frame.pc;
		if (!step(readable, &frame, &is_exact))
			break;
		frame.pc = without_signature(frame.pc);
	}
}
