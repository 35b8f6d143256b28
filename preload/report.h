/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a wrapper does around the function that it stands before.
 *
 *   struct call call = CALL_ENTERS();
 *   block = real.malloc(size);
 *   call_returns(&call, OPERATION_malloc, (uintptr_t)real.malloc, block, size);
 */
#ifndef PRELOAD_REPORT_H
#define PRELOAD_REPORT_H

#include "process.h"
#include "walk.h"

/*
 * A call of the program. Calls that are part of another one are no events; a
 * call whose frame was left without a return, by an exception or a longjmp(),
 * has no parts any more.
 */
struct call {
	struct frame caller;
	bool is_outermost;
};

ALWAYS_INLINE bool is_part_of_another(struct frame caller)
{
	uintptr_t owner = this_thread.owner_sp;

	return owner != 0 && caller.sp < owner;
}

ALWAYS_INLINE struct call call_enters(struct frame caller, bool is_release)
{
	struct call call = {caller, !is_part_of_another(caller)};

	if (call.is_outermost) {
		this_thread.owner_sp = caller.sp;
		this_thread.is_release = is_release;
	}
	return call;
}

#define CALL_ENTERS() call_enters(CALLER_FRAME(), false)
#define RELEASE_ENTERS() call_enters(CALLER_FRAME(), true)

ALWAYS_INLINE void call_leaves(struct call *call)
{
	if (call->is_outermost)
		this_thread.owner_sp = 0;
}

/* Report an allocation, as far as it is wanted; address 0: it failed. */
void report_allocation(struct call *call, uint32_t operation, uint64_t address,
		       uint64_t size);

/* Report a release: before it happens, since then another may follow. */
void report_release(struct frame caller, uint32_t operation, uint64_t address,
		    uint64_t size);

/* As above, of one that began at `timestamp` and is known only now; 0: now. */
void report_release_at(struct frame caller, uint32_t operation,
		       uint64_t address, uint64_t size, uint64_t timestamp);

#endif /* PRELOAD_REPORT_H */
