/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Paths: stacks without frame pointers, walked here by rules that the reader
 * publishes.
 *
 * A rule says how the caller of one code address is found, as DWARF's call
 * frame information does: the frame at the stack pointer or the frame pointer
 * plus a number, and where the frame pointer was saved. A walk asks for the
 * first rule that it lacks, and for those of all words above that point into
 * code; the stack is sent as a slice then. Once the rules are there, a path
 * is sent once, as addresses, however old return addresses lie about between.
 *
 * Included by stack_slice.h.
 */
#ifndef __STACK_PATH_H
#define __STACK_PATH_H

#define RULE_BITS 17
#define RULE_WAYS 4
#define WANTED_BITS 12
#define WANTED_PARTS 8
#define PATH_RECORD_FRAMES 64

/* Kinds of rules, in their lowest two bits. */
#define RULE_NONE 0
#define RULE_BY_STACK_POINTER 1
#define RULE_BY_FRAME_POINTER 2
#define RULE_NO_CALLER 3

/* What kind RULE_NO_CALLER means: the stack begins here, or nobody knows. */
#define RULE_BEGINNING RULE_NO_CALLER

/* Results of a step. */
#define WALK_GOES_ON 0
#define WALK_ENDS 1
#define WALK_LACKS_RULE 2
#define WALK_FAILS 3

/* Some addresses of a path, leaf first, as a record beside the events. */
struct stack_path {
	__u64 slice;
	__u64 timestamp;
	__u32 pid;
	__u32 tid;
	__u32 first;
	__u32 total;
	__u64 addresses[PATH_RECORD_FRAMES];
};

/* Else the type, which readers look up, is in no BTF. */
struct stack_path *unused_stack_path __attribute__((unused));

/*
 * In the upper half a part of the hash of process and address, below it the
 * rule: its kind (2 bits), how many words below the frame's address the frame
 * pointer was saved (14 bits; 0: it is as it was), and the frame's distance in
 * words from the register (16 bits). Found at one of the places of its hash.
 */
__u64 caller_rules[1 << RULE_BITS] = {};

struct wanted_rule {
	__u64 address;
	__u64 pid;
};

/* By their hash; the first takes what there is no use for. */
struct wanted_rule wanted_rules[1 << WANTED_BITS] = {};

/* Whether rules are wanted since the reader last looked. */
#define NO_RULE_WANTED 0
#define RULE_WANTED 1
#define READER_WOKEN 2
__u64 rules_wanted = NO_RULE_WANTED;

/* A word of the walker's stack, whose part is kept; 0, and it fails. */
__noinline __u64 stack_word(__u32 tid, __u64 address)
{
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u64 offset = address - scratch->window;
	__u64 size_bytes;

	if (offset >= scratch->window_bytes) {
		size_bytes = part_bytes(address, scratch->end);
		scratch->window = address;
		scratch->window_bytes = size_bytes & ~7ULL;
		if (address >= scratch->end ||
		    bpf_probe_read_user(scratch->words, size_bytes,
					(void *)address)) {
			scratch->window_bytes = 0;
			scratch->has_failed = 1;
			return 0;
		}
		offset = 0;
	}
	return scratch->words[(offset >> 3) % (SLICE_PART_BYTES / 8)];
}

/* The rule for `address`, and 0 where there is none. */
__noinline __u32 caller_rule(__u64 key, __u64 address)
{
	__u64 hash = mixed(key, address);
	__u64 first = hash >> (64 - RULE_BITS) & ~(RULE_WAYS - 1ULL);

#pragma unroll
	for (int i = 0; i < RULE_WAYS; i++) {
		__u64 found = caller_rules[first + i];

		if (found >> 32 == (__u32)hash)
			return found;
	}
	return RULE_NONE;
}

/*
 * Go from a frame to its caller's. This and the others are not static: the
 * verifier then looks at them once, and not after each round of a loop.
 */
__noinline __u32 walk_step(__u32 tid, __u64 key)
{
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u32 rule = caller_rule(key, scratch->code_address);
	__u32 kind = rule & 3, saved = rule >> 2 & 0x3fff;
	__u64 frame = (__u64)(rule >> 16) * 8;
	__u64 caller;

	if (kind == RULE_NONE)
		return WALK_LACKS_RULE;
	if (kind == RULE_NO_CALLER)
		return rule == RULE_BEGINNING ? WALK_ENDS : WALK_FAILS;
	frame += kind == RULE_BY_STACK_POINTER ? scratch->sp : scratch->bp;
	if (frame <= scratch->sp || frame > scratch->end || frame & 7)
		return WALK_FAILS;
	if (saved)
		scratch->bp = stack_word(tid, frame - saved * 8);
	caller = stack_word(tid, frame - 8);
	if (scratch->has_failed)
		return WALK_FAILS;
	if (!caller)
		return WALK_ENDS;
	scratch->sp = frame;
	/* It may be another function's, if the call never returns. */
	scratch->code_address = caller - 1;
	scratch->hash = mixed(scratch->hash, caller);
	scratch->frames[scratch->n_frames % MAX_PATH_FRAMES] = caller;
	scratch->n_frames++;
	return WALK_GOES_ON;
}

/* Ask for the rules of the words of one chunk that point into code. */
__noinline __u32 want_chunk(__u32 tid, __u32 chunk)
{
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u32 first = chunk % SLICE_PART_CHUNKS * SLICE_CHUNK_WORDS;
	__u64 pid = bpf_get_current_pid_tgid() >> 32;

	for (int i = 0; i < SLICE_CHUNK_WORDS; i++) {
		__u64 word = scratch->words[first + i];
		__u64 index = word * HASH_FACTOR >> (64 - WANTED_BITS);

		index &= -is_code(word);
		wanted_rules[index].address = word - 1;
		wanted_rules[index].pid = pid;
	}
	return 0;
}

/* Ask for the rule of `address`, and of what may be above it on the stack. */
__noinline __u32 want_rules(__u32 tid, __u64 address)
{
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u64 index = address * HASH_FACTOR >> (64 - WANTED_BITS);
	__u64 place = scratch->sp;

	for (__u32 part = 0; part < WANTED_PARTS; part++) {
		scratch->window_bytes = 0;
		scratch->has_failed = 0;
		stack_word(tid, place);
		place = next_part(place);
		if (scratch->has_failed)
			continue;
		for (__u32 i = 0; i < SLICE_PART_CHUNKS; i++)
			want_chunk(tid, i);
	}
	/* Without it no walk gets on: it has a place that is read. */
	index |= index == 0;
	wanted_rules[index].address = address;
	wanted_rules[index].pid = bpf_get_current_pid_tgid() >> 32;
	if (rules_wanted == NO_RULE_WANTED)
		rules_wanted = RULE_WANTED;
	return 0;
}

/*
 * Walk the stack of the thread whose scratch it is, which begins with
 * `address` and ends at `end`. Returns a hash of the path, 0 where it could
 * not be followed to its beginning.
 */
__noinline __u64 walk_path(__u64 address, __u64 sp, __u64 bp, __u64 end,
			   __u64 key)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u32 result = WALK_FAILS;

	scratch->window_bytes = 0;
	scratch->has_failed = 0;
	scratch->end = end;
	scratch->sp = sp;
	scratch->bp = bp;
	scratch->code_address = address;
	scratch->frames[0] = address;
	scratch->n_frames = 1;
	scratch->hash = mixed(key, address);
	for (__u32 i = 1; i < MAX_PATH_FRAMES; i++) {
		result = walk_step(tid, key);
		if (result != WALK_GOES_ON)
			break;
	}
	if (result == WALK_LACKS_RULE)
		want_rules(tid, scratch->code_address);
	return result == WALK_ENDS ? scratch->hash : 0;
}

/* Send the path in the scratch; false where there is no room. */
static __always_inline bool send_path(struct slice_scratch *scratch,
				      __u64 slice)
{
	__u32 n_frames = scratch->n_frames;
	__u64 pid_tgid = bpf_get_current_pid_tgid();

	for (__u32 first = 0; first < MAX_PATH_FRAMES;
	     first += PATH_RECORD_FRAMES) {
		struct stack_path *path;

		if (first >= n_frames)
			break;
		path = bpf_ringbuf_reserve(&events, sizeof(*path), 0);
		if (!path)
			return false;
		path->slice = slice;
		path->timestamp = bpf_ktime_get_boot_ns();
		path->pid = pid_tgid >> 32;
		path->tid = pid_tgid;
		path->first = first;
		path->total = n_frames;
		bpf_probe_read_kernel(path->addresses, sizeof(path->addresses),
				      &scratch->frames[first]);
		bpf_ringbuf_submit(path, BPF_RB_NO_WAKEUP);
	}
	return true;
}

/* Send the path in the scratch unless it was seen, and return its number. */
static __always_inline __u64 number_path(struct slice_scratch *scratch,
					 __u64 hash)
{
	__u64 slice = hash | 2; /* never 0 or SLICE_MISSED */
	__u32 *seen = &seen_slices[slice % (1 << SEEN_SLICE_BITS)];
	__u32 tag = slice >> 32 | 1;

	if (*seen == tag)
		return slice;
	if (!send_path(scratch, slice)) {
		__sync_fetch_and_add(&failed_slices, 1);
		return SLICE_MISSED;
	}
	*seen = tag;
	return slice;
}

/*
 * Number of the path of the current stack; 0 where it has to be a slice. `key`
 * stands for the process in hashes of rules.
 */
static __always_inline __u64 take_path(struct pt_regs *registers,
				       struct slicing *slicing, __u64 end,
				       __u64 key)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u64 hash, slice = 0, leaving = -1;

	barrier_var(leaving);
	__sync_fetch_and_add(&scratch->users, 1);
	if (*(volatile __u64 *)&scratch->users == 1) {
		hash = walk_path(slicing->address, slicing->start,
				 PT_REGS_FP(registers), end, key);
		if (hash)
			slice = number_path(scratch, hash);
	}
	/* -1, but after all is known, as above. */
	__sync_fetch_and_add(&scratch->users, leaving | slice);
	return slice;
}

#endif /* __STACK_PATH_H */
