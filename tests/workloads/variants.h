/*
 * Calls of functions that do the same as one of the malloc family with other
 * arguments, noted as in known.h. No allocator's header is needed: what it has
 * is declared where it is called.
 */
#ifndef VARIANTS_H
#define VARIANTS_H

#include "known.h"

#include <string.h>

/* A call that releases its block and gives another one, or the same. */
#define CALL_REALLOCATE(block, size, expression)                             \
	({                                                                   \
		uint64_t old_ = (uint64_t)(block);                           \
		struct call *release_ = old_ ? begin("realloc_free") : NULL; \
		struct call *allocation_ = begin("realloc");                 \
		void *new_ = (expression);                                   \
		end(allocation_, new_, size);                                \
		if (release_)                                                \
			end(release_, (void *)old_, 0);                      \
		new_;                                                        \
	})

/* A call that gives nothing, or releases all that it gives back. */
#define CALL_RELEASE(operation, block, expression)     \
	({                                             \
		struct call *call_ = begin(operation); \
		uint64_t old_ = (uint64_t)(block);     \
		(expression);                          \
		end(call_, (void *)old_, 0);           \
	})

#endif /* VARIANTS_H */
