/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that programs call to allocate and to give back.
 *
 * What an event is, is the gadget's to say (program.bpf.c): one call, one
 * event; a failed allocation has address 0; free(NULL), the release of
 * realloc(NULL, n) and a munmap() that the kernel refuses are none.
 */
#include "real.h"
#include "report.h"

#define PAGE_MASK 0xfffULL
#define ENOMEM 12
#define EINVAL 22

static uint64_t saturating_product(uint64_t count, uint64_t size)
{
	uint64_t product;

	return __builtin_mul_overflow(count, size, &product) ? UINT64_MAX
							     : product;
}

static void *fail(int error)
{
	*__errno_location() = error;
	return NULL;
}

EXPORTED void *malloc(size_t size)
{
	struct call call;
	void *block;

	FIND_REAL();
	call = CALL_ENTERS();
	block = real.malloc(size);
	report_allocation(&call, OPERATION_malloc, (uintptr_t)block, size);
	call_leaves(&call);
	return block;
}

EXPORTED void *calloc(size_t count, size_t size)
{
	struct call call;
	void *block;

	FIND_REAL();
	call = CALL_ENTERS();
	block = real.calloc(count, size);
	report_allocation(&call, OPERATION_calloc, (uintptr_t)block,
			  saturating_product(count, size));
	call_leaves(&call);
	return block;
}

/* A release inside realloc() or another release has been reported. */
static bool is_silent(const struct call *call)
{
	return !call->is_outermost && this_thread.is_release;
}

static void give_back(struct call *call, void *block)
{
	if (block && !is_silent(call))
		report_release(call->caller, OPERATION_free, (uintptr_t)block,
			       0);
}

EXPORTED void free(void *block)
{
	struct call call;

	FIND_REAL();
	call = RELEASE_ENTERS();
	give_back(&call, block);
	real.free(block);
	call_leaves(&call);
}

EXPORTED void free_sized(void *block, size_t size)
{
	struct call call;

	FIND_REAL();
	call = RELEASE_ENTERS();
	give_back(&call, block);
	if (real.free_sized)
		real.free_sized(block, size);
	else
		real.free(block);
	call_leaves(&call);
}

EXPORTED void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	struct call call;

	FIND_REAL();
	call = RELEASE_ENTERS();
	give_back(&call, block);
	if (real.free_aligned_sized)
		real.free_aligned_sized(block, alignment, size);
	else
		real.free(block);
	call_leaves(&call);
}

static void before_realloc(struct call *call, void *block)
{
	if (block && call->is_outermost)
		report_release(call->caller, OPERATION_realloc_free,
			       (uintptr_t)block, 0);
}

static void after_realloc(struct call *call, void *block, uint64_t size)
{
	/* realloc(p, 0) gave the block back: that is no failure. */
	if (size != 0 || block)
		report_allocation(call, OPERATION_realloc, (uintptr_t)block,
				  size);
}

EXPORTED void *realloc(void *block, size_t size)
{
	struct call call;
	void *moved;

	FIND_REAL();
	call = RELEASE_ENTERS();
	before_realloc(&call, block);
	moved = real.realloc(block, size);
	after_realloc(&call, moved, size);
	call_leaves(&call);
	return moved;
}

EXPORTED void *reallocarray(void *block, size_t count, size_t size)
{
	uint64_t wanted = saturating_product(count, size);
	struct call call;
	void *moved;

	FIND_REAL();
	call = RELEASE_ENTERS();
	before_realloc(&call, block);
	if (real.reallocarray)
		moved = real.reallocarray(block, count, size);
	else
		moved = wanted == UINT64_MAX ? fail(ENOMEM)
					     : real.realloc(block, wanted);
	after_realloc(&call, moved, wanted);
	call_leaves(&call);
	return moved;
}

EXPORTED int posix_memalign(void **place, size_t alignment, size_t size)
{
	struct call call;
	int error;

	FIND_REAL();
	call = CALL_ENTERS();
	error = real.posix_memalign
			? real.posix_memalign(place, alignment, size)
			: EINVAL;
	report_allocation(&call, OPERATION_posix_memalign,
			  error ? 0 : (uintptr_t)*place, size);
	call_leaves(&call);
	return error;
}

/* An allocator without one of these has none of them: then it fails. */
#define ALIGNED(name)                                                          \
	EXPORTED void *name(size_t alignment, size_t size)                     \
	{                                                                      \
		struct call call;                                              \
		void *block;                                                   \
                                                                               \
		FIND_REAL();                                                   \
		call = CALL_ENTERS();                                          \
		block = real.name ? real.name(alignment, size) : fail(ENOMEM); \
		report_allocation(&call, OPERATION_##name, (uintptr_t)block,   \
				  size);                                       \
		call_leaves(&call);                                            \
		return block;                                                  \
	}

#define PAGE_ALIGNED(name)                                                   \
	EXPORTED void *name(size_t size)                                     \
	{                                                                    \
		struct call call;                                            \
		void *block;                                                 \
                                                                             \
		FIND_REAL();                                                 \
		call = CALL_ENTERS();                                        \
		block = real.name ? real.name(size) : fail(ENOMEM);          \
		report_allocation(&call, OPERATION_##name, (uintptr_t)block, \
				  size);                                     \
		call_leaves(&call);                                          \
		return block;                                                \
	}

ALIGNED(aligned_alloc)
ALIGNED(memalign)
PAGE_ALIGNED(valloc)
PAGE_ALIGNED(pvalloc)

/* An allocator maps for itself; what it hands out of that, it says itself. */
static bool is_allocators_own(const struct call *call)
{
	return call->caller.pc - allocator_code.start <
	       allocator_code.end - allocator_code.start;
}

EXPORTED void *mmap(void *hint, size_t length, int protection, int flags,
		    int file, int64_t offset)
{
	struct call call;
	void *start;

	FIND_REAL();
	call = CALL_ENTERS();
	start = real.mmap(hint, length, protection, flags, file, offset);
	if (!is_allocators_own(&call))
		report_allocation(&call, OPERATION_mmap,
				  start == MAP_FAILED ? 0 : (uintptr_t)start,
				  length);
	call_leaves(&call);
	if (protection & PROT_EXEC && start != MAP_FAILED && is_recorded())
		note_new_code(false);
	return start;
}

EXPORTED void *mmap64(void *, size_t, int, int, int, int64_t)
	__attribute__((alias("mmap")));

EXPORTED int munmap(void *start, size_t length)
{
	struct call call;
	int result;

	FIND_REAL();
	call = CALL_ENTERS();
	/* The kernel refuses others (EINVAL): nothing is released. */
	if (length != 0 && !((uintptr_t)start & PAGE_MASK) &&
	    call.is_outermost && !is_allocators_own(&call))
		report_release(call.caller, OPERATION_munmap, (uintptr_t)start,
			       length);
	ADD(stacks_unmapped, 1);
	result = real.munmap(start, length);
	call_leaves(&call);
	return result;
}

/* One mapping goes as it begins, and another one has come as it returns. */
EXPORTED void *mremap(void *start, size_t old_length, size_t length, int flags,
		      void *hint)
{
	struct call call;
	uint64_t began;
	void *moved;

	FIND_REAL();
	call = CALL_ENTERS();
	began = now_ns(CLOCK_BOOTTIME);
	moved = real.mremap(start, old_length, length, flags, hint);
	if (call.is_outermost && !is_allocators_own(&call)) {
		ADD(stacks_unmapped, 1);
		/* Another thread may be given the old pages before we return.
		 */
		if (moved != MAP_FAILED && old_length &&
		    !(flags & MREMAP_DONTUNMAP))
			report_release_at(call.caller, OPERATION_munmap,
					  (uintptr_t)start, old_length, began);
		report_allocation(&call, OPERATION_mmap,
				  moved == MAP_FAILED ? 0 : (uintptr_t)moved,
				  length);
	}
	call_leaves(&call);
	return moved;
}
