/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C++'s operators, where the allocator defines them itself, as jemalloc and
 * tcmalloc do. Those of libstdc++ and libc++ call malloc() and free(), which
 * are seen; they are jumped to.
 *
 * An operator that throws leaves nothing behind, and gives no event.
 */
#include "real.h"
#include "report.h"

/* Found once; `is_own`: the allocator has it. */
struct operator
{
	void *function;
	bool is_own;
};

static void find_operator(struct operator* operator, const char * name)
{
	uintptr_t address;

	FIND_REAL();
	if (READ_ACQUIRE(operator->function))
		return;
	address = (uintptr_t)real_function(name);
	operator->is_own = address - allocator_code.start<
		allocator_code.end - allocator_code.start;
	WRITE_RELEASE(operator->function, (void *)address);
}

#define NEW(name, parameters, ...)                                           \
	EXPORTED void *name parameters                                       \
	{                                                                    \
		static struct operator operator;                             \
		void *(*function)parameters;                                 \
		struct call call;                                            \
		void *block;                                                 \
                                                                             \
		if (UNLIKELY(!READ_ACQUIRE(operator.function)))              \
			find_operator(&operator, #name);                     \
		function = (void *(*)parameters) operator.function;          \
		if (LIKELY(!operator.is_own))                                \
			return function(__VA_ARGS__);                        \
		call = CALL_ENTERS();                                        \
		block = function(__VA_ARGS__);                               \
		report_allocation(&call, OPERATION_malloc, (uintptr_t)block, \
				  size);                                     \
		call_leaves(&call);                                          \
		return block;                                                \
	}

#define DELETE(name, parameters, ...)                               \
	EXPORTED void name parameters                               \
	{                                                           \
		static struct operator operator;                    \
		void(*function) parameters;                         \
		struct call call;                                   \
                                                                    \
		if (UNLIKELY(!READ_ACQUIRE(operator.function)))     \
			find_operator(&operator, #name);            \
		function = (void(*) parameters) operator.function;  \
		if (LIKELY(!operator.is_own)) {                     \
			function(__VA_ARGS__);                      \
			return;                                     \
		}                                                   \
		call = RELEASE_ENTERS();                            \
		if (block && call.is_outermost)                     \
			report_release(call.caller, OPERATION_free, \
				       (uintptr_t)block, 0);        \
		function(__VA_ARGS__);                              \
		call_leaves(&call);                                 \
	}

#define OPERATORS(plain, array)                                                \
	NEW(_Z##plain##m, (size_t size), size)                                 \
	NEW(_Z##plain##mRKSt9nothrow_t, (size_t size, const void *tag), size,  \
	    tag)                                                               \
	NEW(_Z##plain##mSt11align_val_t, (size_t size, size_t alignment),      \
	    size, alignment)                                                   \
	NEW(_Z##plain##mSt11align_val_tRKSt9nothrow_t,                         \
	    (size_t size, size_t alignment, const void *tag), size, alignment, \
	    tag)                                                               \
	DELETE(_Z##array##Pv, (void *block), block)                            \
	DELETE(_Z##array##Pvm, (void *block, size_t size), block, size)        \
	DELETE(_Z##array##PvRKSt9nothrow_t, (void *block, const void *tag),    \
	       block, tag)                                                     \
	DELETE(_Z##array##PvSt11align_val_t, (void *block, size_t alignment),  \
	       block, alignment)                                               \
	DELETE(_Z##array##PvmSt11align_val_t,                                  \
	       (void *block, size_t size, size_t alignment), block, size,      \
	       alignment)                                                      \
	DELETE(_Z##array##PvSt11align_val_tRKSt9nothrow_t,                     \
	       (void *block, size_t alignment, const void *tag), block,        \
	       alignment, tag)

OPERATORS(nw, dl)
OPERATORS(na, da)
