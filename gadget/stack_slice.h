/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Slices: the user stack as it is, with the registers, for a reader that
 * unwinds it by DWARF rules where programs have no frame pointers.
 *
 * The words that point into code make the stack, the rest is data. They are
 * hashed, and a slice whose hash was seen is not sent again: the event carries
 * the hash, which is the slice's number. What is code is the reader's to say,
 * in `code_pages`. The kernel counts the pages of code that a process maps:
 * while that is another number than the reader has seen, the bits are out of
 * date, and every slice is sent.
 */
#ifndef __STACK_SLICE_H
#define __STACK_SLICE_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <gadget/buffer.h>
#include <gadget/macros.h>

/* A part is of one page: of a page that is not there nothing can be read. */
#define SLICE_PART_BYTES 4096
#define SLICE_CHUNK_WORDS 16
#define SLICE_CHUNK_BYTES (SLICE_CHUNK_WORDS * 8)
#define SLICE_PART_CHUNKS (SLICE_PART_BYTES / SLICE_CHUNK_BYTES)

/* No stack is larger; the address found as its end is another thing then. */
#define STACK_MAX_BYTES (64 << 20)

/* Instead of a slice's number: there is none, and a walk would go astray. */
#define SLICE_MISSED 1

#define HASH_FACTOR 0xff51afd7ed558ccdULL
#define CODE_PAGE_BITS 20
#define SEEN_SLICE_BITS 18
#define KNOWN_PROCESSES 4096
#define SCRATCHES 64

/* Deeper stacks are sent as slices. */
#define MAX_PATH_FRAMES 256

/* So many unsettled slices are sent; then the reader has to catch up. */
#define MAX_UNSETTLED 8192

#if defined(__TARGET_ARCH_x86)
#define SLICE_REGISTERS 17
#define STACK_POINTER 7
#define RETURN_BYTES 8
#elif defined(__TARGET_ARCH_arm64)
#define SLICE_REGISTERS 33
#define STACK_POINTER 31
#define RETURN_BYTES 0
#endif
#define PROGRAM_COUNTER (SLICE_REGISTERS - 1)

/*
 * Where a probe stands: at a function's entry, at an instruction by which it
 * returns, or where it has returned to.
 */
enum probe_place {
	PLACE_ENTRY,
	PLACE_RETURN,
	PLACE_RETURNED,
};

/* Copy the user stack of every event, each distinct one once. */
const volatile bool collect_slices = false;
GADGET_PARAM(collect_slices);

/*
 * How deep into a stack a slice reaches, and its hash. The verifier walks the
 * loops over both in every program: that is loading time.
 */
const volatile __u32 slice_bytes = 8 * SLICE_PART_BYTES;
const volatile __u32 hashed_bytes = 8 * SLICE_PART_BYTES;

#if defined(__TARGET_ARCH_arm64)
/*
 * The bits that an address of code may have. arm64 signs return addresses in
 * the bits above (pointer authentication); how many these are, the reader says.
 */
const volatile __u64 code_address_mask = (1ULL << 48) - 1;
#endif

/*
 * A part of a slice, as a record of its own beside the events. `memory` is
 * what lies `offset_bytes` above the stack pointer.
 */
struct slice_part {
	__u64 slice;
	__u64 timestamp;
	__u32 pid;
	__u32 tid;
	__u32 offset_bytes;
	__u32 size_bytes;
	__u32 total_bytes;		  /* of the slice */
	__u32 is_settled;		  /* the reader knew what is code */
	__u64 registers[SLICE_REGISTERS]; /* by DWARF's numbers; last the pc */
	__u8 memory[SLICE_PART_BYTES];
};

/* Else the type, which readers look up, is in no BTF. */
struct slice_part *unused_slice_part __attribute__((unused));

/* What a reader of slices knows of a process. */
struct known_process {
	__u32 pid;
	__u32 has_frame_pointers; /* its slices are not wanted */
	__u64 code_pages;	  /* as the kernel counts them */
	__u64 unsettled;	  /* slices that were sent since */
	__u64 rules;		  /* its key among those; 0: it has none */
	__u64 memory;		  /* its mm_struct: another one after exec */
};

/* 1 for each page of code of any process, by the hash of its number. */
__u8 code_pages[1 << CODE_PAGE_BITS] = {};
struct known_process known_processes[KNOWN_PROCESSES] = {};

/*
 * Room for a part of the stack while it is hashed: a read takes 0.14 us, of
 * whatever size, and the program's own stack is small. Threads share one by
 * their number. Who finds another user reads in chunks; a program may be
 * preempted, so that one for each CPU would not do.
 */
struct slice_scratch {
	__u64 users;
	__u64 words[SLICE_PART_BYTES / 8];
	/* Of a walk (stack_path.h): what `words` are, where it is, its path. */
	__u64 window;
	__u64 window_bytes;
	__u64 has_failed;
	__u64 end;
	__u64 sp;
	__u64 bp;
	__u64 code_address;
	__u64 hash;
	__u64 n_frames;
	__u64 frames[MAX_PATH_FRAMES];
};

/* All of .bss is 4 MiB at most: kernels before 5.13 refuse larger values. */
struct slice_scratch scratches[SCRATCHES] = {};

/* By the low bits of a slice's hash, its high ones. */
__u32 seen_slices[1 << SEEN_SLICE_BITS] = {};
__u64 failed_slices = 0;

/* Set by a reader that is late: the room that is left is for events. */
volatile __u32 slices_paused = 0;

struct slicing {
	__u64 address; /* of the code that runs: the program counter */
	__u64 start;   /* the stack pointer */
	__u64 end;
	__u64 hash;
	bool is_settled;
	bool wakes_reader; /* the first one that is not settled, or walked */
};

/* What `word` is if it is a return address: without its signature. */
static __always_inline __u64 without_signature(__u64 word)
{
#if defined(__TARGET_ARCH_arm64)
	return word & code_address_mask;
#else
	return word;
#endif
}

/* 1 where `word` points into code, else 0. */
static __always_inline __u64 is_code(__u64 word)
{
	return code_pages[((word >> 12) * 0x9e3779b97f4a7c15ULL) >>
			  (64 - CODE_PAGE_BITS)];
}

static __always_inline __u64 mixed(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * HASH_FACTOR;
	return hash ^ (hash >> 32);
}

#if defined(__TARGET_ARCH_x86)

struct thread_struct___x86 {
	unsigned long fsbase;
} __attribute__((preserve_access_index));

struct task_struct___x86 {
	struct thread_struct___x86 thread;
} __attribute__((preserve_access_index));

static __always_inline __u64 thread_pointer(struct task_struct *task)
{
	struct task_struct___x86 *local = (void *)task;

	return BPF_CORE_READ(local, thread.fsbase);
}

static __always_inline void copy_registers(__u64 *to, struct pt_regs *from)
{
	to[0] = from->ax;
	to[1] = from->dx;
	to[2] = from->cx;
	to[3] = from->bx;
	to[4] = from->si;
	to[5] = from->di;
	to[6] = from->bp;
	to[7] = from->sp;
	to[8] = from->r8;
	to[9] = from->r9;
	to[10] = from->r10;
	to[11] = from->r11;
	to[12] = from->r12;
	to[13] = from->r13;
	to[14] = from->r14;
	to[15] = from->r15;
	to[16] = from->ip;
}

#elif defined(__TARGET_ARCH_arm64)

struct tls___arm64 {
	unsigned long tp_value;
} __attribute__((preserve_access_index));

struct thread_struct___arm64 {
	struct tls___arm64 uw;
} __attribute__((preserve_access_index));

struct task_struct___arm64 {
	struct thread_struct___arm64 thread;
} __attribute__((preserve_access_index));

static __always_inline __u64 thread_pointer(struct task_struct *task)
{
	struct task_struct___arm64 *local = (void *)task;

	return BPF_CORE_READ(local, thread.uw.tp_value);
}

static __always_inline void copy_registers(__u64 *to, struct pt_regs *from)
{
	struct user_pt_regs *registers = (void *)from;

	bpf_probe_read_kernel(to, 31 * sizeof(*to), registers->regs);
	to[31] = registers->sp;
	to[32] = registers->pc;
}

#endif

/*
 * How far it is to the stack's end. The C libraries keep a thread's control
 * block, at which the thread pointer points, on top of its stack. The main
 * thread's is elsewhere, below; where its stack began, the kernel knows. Where
 * a coroutine's stack ends, nobody knows: as far as slices reach.
 */
static __always_inline __u64 stack_size_bytes(struct task_struct *task,
					      __u64 start)
{
	__u64 size_bytes = thread_pointer(task) - start;

	if (size_bytes < STACK_MAX_BYTES)
		return size_bytes;
	size_bytes = BPF_CORE_READ(task, mm, start_stack) - start;
	if (size_bytes < STACK_MAX_BYTES)
		return size_bytes;
	return slice_bytes;
}

/*
 * How many bytes there are from `address` to the end of its page, or to `end`
 * if that comes first; never 0. Without a branch, as the flags in send_part():
 * the verifier would walk all that follows twice.
 */
static __always_inline __u64 part_bytes(__u64 address, __u64 end)
{
	__u64 page_bytes = SLICE_PART_BYTES - address % SLICE_PART_BYTES;
	__u64 left_bytes = end - address;
	__u64 is_whole = (__s64)(page_bytes - left_bytes) >> 63;

	barrier_var(is_whole);
	left_bytes = (left_bytes & ~is_whole) | (page_bytes & is_whole);
	return ((left_bytes - 1) & (SLICE_PART_BYTES - 1)) + 1;
}

/* Where the part after the one at `address` begins. */
static __always_inline __u64 next_part(__u64 address)
{
	return (address | (SLICE_PART_BYTES - 1)) + 1;
}

#include "stack_path.h"

/*
 * The hash of the code addresses in one chunk of stack, on from `hash`: a
 * polynomial, without a branch for a word. The first `n_below` words lie below
 * the stack, and count as 0.
 */
static __always_inline __u64 hash_words(__u64 *words, __s64 n_below, __u64 hash)
{
#pragma unroll
	for (int i = 0; i < SLICE_CHUNK_WORDS; i++) {
		/* All ones once none is left that lies below. */
		__u64 is_inside = (n_below - 1) >> 63;
		__u64 word = without_signature(words[i] & is_inside);

		hash = (hash + word * is_code(word)) * HASH_FACTOR;
		n_below--;
		/* One after the other: else all are spilled at once. */
		barrier_var(hash);
		barrier_var(n_below);
	}
	return hash;
}

static __always_inline __u64 words_below(__u64 address)
{
	return address % SLICE_CHUNK_BYTES / 8;
}

/*
 * The same, of the chunk around `address`, from there on; what cannot be read
 * counts as 0. These are not static: the verifier then looks at them once, not
 * at every call.
 */
__noinline __u64 hash_chunk(__u64 address, __u64 hash)
{
	__u64 words[SLICE_CHUNK_WORDS];

	bpf_probe_read_user(words, sizeof(words),
			    (void *)(address & ~(SLICE_CHUNK_BYTES - 1ULL)));
	return hash_words(words, words_below(address), hash);
}

/* The same, of the chunk that lies in the scratch of thread `tid`. */
__noinline __u64 hash_scratch(__u32 tid, __u32 chunk, __u64 address, __u64 hash)
{
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u32 first = chunk % SLICE_PART_CHUNKS * SLICE_CHUNK_WORDS;

	return hash_words(&scratch->words[first], words_below(address), hash);
}

/*
 * The same for a part of the stack, in whole chunks, none of which lies in two
 * pages. Who sees itself as the only user of the scratch was the first, and
 * whoever comes before it has left sees two.
 */
__noinline __u64 hash_part(__u64 address, __u64 end, __u64 hash)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct slice_scratch *scratch = &scratches[tid % SCRATCHES];
	__u64 start = address & ~(SLICE_CHUNK_BYTES - 1ULL);
	__u64 n_chunks = (part_bytes(start, end) + SLICE_CHUNK_BYTES - 1) /
			 SLICE_CHUNK_BYTES;
	__u64 leaving = -1;
	bool is_alone;

	barrier_var(leaving);
	__sync_fetch_and_add(&scratch->users, 1);
	is_alone = *(volatile __u64 *)&scratch->users == 1;
	/* A page that is not there becomes zeros. */
	if (is_alone)
		bpf_probe_read_user(scratch->words,
				    n_chunks * SLICE_CHUNK_BYTES,
				    (void *)start);
	for (__u32 i = 0; i < SLICE_PART_CHUNKS; i++) {
		if (i >= n_chunks)
			break;
		hash = is_alone ? hash_scratch(tid, i, address, hash)
				: hash_chunk(address, hash);
		address = (address | (SLICE_CHUNK_BYTES - 1)) + 1;
	}
	/* -1, but after the hash is known: else arm64 may leave, then read. */
	__sync_fetch_and_add(&scratch->users, leaving | hash);
	return hash;
}

static __always_inline __u64 hash_stack(__u64 address, __u64 end)
{
	__u64 hash = 0;

	/* One part more: the first one begins inside of a page. */
	for (__u32 i = 0; i <= hashed_bytes / SLICE_PART_BYTES; i++) {
		if (address >= end)
			break;
		hash = hash_part(address, end, hash);
		address = next_part(address);
	}
	return hash;
}

static __always_inline bool send_part(struct pt_regs *registers,
				      struct slicing *slicing, __u64 address)
{
	struct slice_part *part;
	__u64 pid_tgid, size_bytes;

	part = bpf_ringbuf_reserve(&events, sizeof(*part), 0);
	if (!part)
		return false;
	pid_tgid = bpf_get_current_pid_tgid();
	part->slice = slicing->hash;
	part->timestamp = bpf_ktime_get_boot_ns();
	part->pid = pid_tgid >> 32;
	part->tid = pid_tgid;
	part->offset_bytes = address - slicing->start;
	part->total_bytes = slicing->end - slicing->start;
	part->is_settled = slicing->is_settled;
	copy_registers(part->registers, registers);
	part->registers[STACK_POINTER] = slicing->start;
	part->registers[PROGRAM_COUNTER] = slicing->address;
	size_bytes = part_bytes(address, slicing->end);
	part->size_bytes = size_bytes;
	bpf_probe_read_user(part->memory, size_bytes, (void *)address);
	_Static_assert(BPF_RB_FORCE_WAKEUP == BPF_RB_NO_WAKEUP << 1, "flags");
	bpf_ringbuf_submit(part, BPF_RB_NO_WAKEUP << slicing->wakes_reader);
	return true;
}

/* Send the slice in parts; false where there is no room. */
static __always_inline bool send_slice(struct pt_regs *registers,
				       struct slicing *slicing)
{
	__u64 address = slicing->start;

	if (slices_paused)
		return false;
	for (__u32 i = 0; i <= slice_bytes / SLICE_PART_BYTES; i++) {
		if (address >= slicing->end)
			break;
		if (!send_part(registers, slicing, address))
			return false;
		address = next_part(address);
	}
	return true;
}

/* Where the stack begins that is to be sent. */
static __always_inline struct slicing slicing_at(struct pt_regs *registers,
						 enum probe_place place)
{
	struct slicing slicing = {.start = PT_REGS_SP(registers)};

	slicing.address = PT_REGS_IP(registers);
	if (place == PLACE_RETURN) {
		slicing.address = without_signature(return_address(registers));
		slicing.start += RETURN_BYTES;
	}
	return slicing;
}

/*
 * Number of the slice of the current stack, which is sent if it is a new one;
 * 0 where a walk by frame pointers is wanted. At a return instruction it is the
 * stack that is left after it: an allocator returns at several. A function of
 * its own, not inlined, so that what it does comes after the program's own
 * calls in the diagrams.
 */
static __noinline __u64 take_slice(struct pt_regs *registers,
				   enum probe_place place)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct known_process *known = &known_processes[pid % KNOWN_PROCESSES];
	struct slicing slicing = slicing_at(registers, place);
	__u64 size_bytes = stack_size_bytes(task, slicing.start);
	__u64 memory = (__u64)BPF_CORE_READ(task, mm);
	__u64 path;
	__u32 *seen, tag;

	if (known->pid != pid || known->memory != memory)
		*known = (struct known_process){.pid = pid, .memory = memory};
	else if (known->has_frame_pointers)
		return 0;
	if (known->rules) {
		path = take_path(registers, &slicing,
				 slicing.start + size_bytes, known->rules);
		if (path)
			return path;
	}
	slicing.is_settled =
		known->code_pages == BPF_CORE_READ(task, mm, exec_vm);
	slicing.wakes_reader = !slicing.is_settled && known->unsettled == 0;
	if (rules_wanted == RULE_WANTED) {
		rules_wanted = READER_WOKEN;
		slicing.wakes_reader = true;
	}
	if (!slicing.is_settled && known->unsettled++ >= MAX_UNSETTLED)
		return SLICE_MISSED;
	/* Deeper than what is hashed, stacks are told apart by their depth. */
	slicing.hash = mixed(mixed(pid, size_bytes), slicing.address);
	if (size_bytes > slice_bytes)
		size_bytes = slice_bytes;
	slicing.end = slicing.start + size_bytes;
	slicing.hash = mixed(slicing.hash,
			     slicing.is_settled
				     ? hash_stack(slicing.start, slicing.end)
				     : bpf_ktime_get_boot_ns());
	slicing.hash |= 2; /* never 0 or SLICE_MISSED */
	seen = &seen_slices[slicing.hash % (1 << SEEN_SLICE_BITS)];
	tag = slicing.hash >> 32 | 1;
	if (*seen == tag)
		return slicing.hash;
	if (!send_slice(registers, &slicing)) {
		__sync_fetch_and_add(&failed_slices, 1);
		return SLICE_MISSED;
	}
	*seen = tag;
	return slicing.hash;
}

#endif /* __STACK_SLICE_H */
