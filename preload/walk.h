/* SPDX-License-Identifier: Apache-2.0 */
/* Walking a stack: from a call to the functions that led to it. */
#ifndef PRELOAD_WALK_H
#define PRELOAD_WALK_H

#include "base.h"

#define MAX_FRAMES 512

/* Where a walk is: `pc` is a return address unless it says otherwise. */
struct frame {
	uintptr_t pc;
	uintptr_t sp;
	uintptr_t bp;
};

/*
 * The frame of who called the function that asks. To be asked in a function
 * that was compiled with frame pointers, before it calls another.
 */
#if defined(__x86_64__)
#define CALLER_FRAME()                                              \
	((struct frame){(uintptr_t)__builtin_return_address(0),     \
			(uintptr_t)__builtin_frame_address(0) + 16, \
			*(uintptr_t *)__builtin_frame_address(0)})
#else
#define CALLER_FRAME()                                            \
	((struct frame){(uintptr_t)__builtin_extract_return_addr( \
				__builtin_return_address(0)),     \
			(uintptr_t)__builtin_dwarf_cfa(),         \
			*(uintptr_t *)__builtin_frame_address(0)})
#endif

/* What is known to be readable of the stack that a thread is on. */
struct readable {
	uintptr_t low;
	uintptr_t high;
	uint32_t n_unmapped; /* as `stacks_unmapped` was then */
};

/* What a scratch has of the walk before: most of the next one is the same. */
struct walk {
	uint32_t n_frames;
	uint64_t pcs[MAX_FRAMES];
};

/* Set when a walk comes to code for the first time, where it is unheard of. */
extern bool has_new_code;

/* Counts what may have taken stacks away. */
extern uint32_t stacks_unmapped;

/* Find where the first thread's stack ends; before the first walk. */
void walk_prepare(void);

/* Code at known addresses may be other code from now on. */
void walk_forget_rules(void);

/*
 * Put the return addresses from `frame` outwards into `walk`, behind those
 * that are there.
 */
void walk_stack(struct readable *readable, struct frame frame,
		struct walk *walk);

#endif /* PRELOAD_WALK_H */
