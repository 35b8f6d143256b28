/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks as events name them: by a number, after each was sent once. */
#ifndef PRELOAD_STACKS_H
#define PRELOAD_STACKS_H

#include "process.h"

/* Make room for what is known to be sent; false where there is none. */
bool stacks_prepare(uint64_t seed);

/* Stacks of now are other ones than those of before, whatever their addresses.
 */
void stacks_begin_anew(uint64_t seed);

/* Nobody else is using a scratch, after a fork. */
void stacks_free_scratches(void);

/*
 * The number of the stack of who called the allocator from `frame`: sent
 * if it is a new one.
 */
uint64_t stack_number(struct frame frame);

#endif /* PRELOAD_STACKS_H */
