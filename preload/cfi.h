/* SPDX-License-Identifier: Apache-2.0 */
/* How to go from a frame to its caller's, by what compilers say of it. */
#ifndef PRELOAD_CFI_H
#define PRELOAD_CFI_H

#include "base.h"

enum step {
	STEP_UNKNOWN = 0, /* nothing is said of this code */
	STEP_BY_SP,	  /* the frame is at sp + frame */
	STEP_BY_BP,	  /* at bp + frame */
	STEP_BY_SAVED,	  /* at the word at bp + frame */
	STEP_SIGNAL,	  /* the kernel put it there, for a signal */
	STEP_END,	  /* the stack begins here */
};

#define NOT_SAVED INT16_MIN
#define SAVED_AT_BP (INT16_MIN + 1)

/*
 * A rule for one place in code. Offsets are in bytes; those of what was saved
 * are from the frame. A return address that was not saved is in a register.
 */
struct cfi_rule {
	int32_t frame;
	int16_t bp;
	int16_t return_address;
	enum step step;
};

/* The rule for the instruction at `pc`; false where there is none. */
bool cfi_find(uintptr_t pc, struct cfi_rule *rule);

/*
 * Take note of what is loaded, where the C library cannot be asked without
 * taking a lock. To be called where dlopen() may be.
 */
void cfi_note_objects(void);

#endif /* PRELOAD_CFI_H */
