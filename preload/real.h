/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that ours stand before: the next ones of these names. */
#ifndef PRELOAD_REAL_H
#define PRELOAD_REAL_H

#include "base.h"

struct real {
	void *(*malloc)(size_t size);
	void (*free)(void *block);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *block, size_t size);
	void *(*reallocarray)(void *block, size_t count, size_t size);
	int (*posix_memalign)(void **place, size_t alignment, size_t size);
	void *(*aligned_alloc)(size_t alignment, size_t size);
	void *(*memalign)(size_t alignment, size_t size);
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	void (*free_sized)(void *block, size_t size);
	void (*free_aligned_sized)(void *block, size_t alignment, size_t size);
	void *(*mmap)(void *hint, size_t length, int protection, int flags,
		      int file, int64_t offset);
	int (*munmap)(void *start, size_t length);
	void *(*mremap)(void *start, size_t old_length, size_t length,
			int flags, void *hint);
	int (*prctl)(int option, unsigned long a, unsigned long b,
		     unsigned long c, unsigned long d);
	int (*dlclose)(void *library);
	int (*execve)(const char *path, char *const *words, char *const *env);
	int (*execvpe)(const char *file, char *const *words, char *const *env);
	int (*fexecve)(int file, char *const *words, char *const *env);
	int (*posix_spawn)(int *pid, const char *path, const void *actions,
			   const void *attributes, char *const *words,
			   char *const *env);
	int (*posix_spawnp)(int *pid, const char *file, const void *actions,
			    const void *attributes, char *const *words,
			    char *const *env);
};

/* Where the allocator's code lies: its own mappings are no events. */
struct code_range {
	uintptr_t start;
	uintptr_t end;
};

extern struct real real;

#define FIND_REAL()                                       \
	do {                                              \
		if (UNLIKELY(!READ_ACQUIRE(real.malloc))) \
			real_find();                      \
	} while (0)

extern struct code_range allocator_code;

/* Find them all; may be called at any time, by anybody. */
void real_find(void);

/* The function `name` of the next object that has it; NULL: none has. */
void *real_function(const char *name);

/* Whether the program itself has `name`, which then goes before ours. */
bool real_is_preceded(const char *name);

#endif /* PRELOAD_REAL_H */
