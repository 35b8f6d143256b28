/*
 * A program that knows its every call: each is made through a function here
 * that notes what went in and out, and write_truth() writes the notes where
 * the test reads them. Taking notes allocates nothing.
 *
 * One line a call: operation, address, size, CLOCK_BOOTTIME before and after
 * (ns), pid, tid. A failed allocation has address 0.
 */
#ifndef KNOWN_H
#define KNOWN_H

#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_CALLS 1000000

struct call {
	const char *operation;
	uint64_t address, size, began_ns, ended_ns;
	pid_t pid, tid;
};

static struct call calls[MAX_CALLS];
static atomic_size_t n_calls;

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline struct call *begin(const char *operation)
{
	size_t index = atomic_fetch_add(&n_calls, 1);

	if (index >= MAX_CALLS)
		_exit(3);
	calls[index] = (struct call){
		.operation = operation,
		.began_ns = now_ns(),
		.pid = getpid(),
		.tid = gettid(),
	};
	return &calls[index];
}

static inline void end(struct call *call, const void *address, size_t size)
{
	call->ended_ns = now_ns();
	call->address = address == MAP_FAILED ? 0 : (uint64_t)address;
	call->size = size;
}

/* The address that `expression` gives; asked for were `size` bytes. */
#define CALL_ALLOCATE(operation, size, expression)     \
	({                                             \
		struct call *call_ = begin(operation); \
		void *address_ = (expression);         \
		end(call_, address_, size);            \
		address_;                              \
	})

static inline void *known_malloc(size_t size)
{
	return CALL_ALLOCATE("malloc", size, malloc(size));
}

static inline void known_free(void *block)
{
	struct call *call = begin("free");
	uint64_t address = (uint64_t)block;

	free(block);
	end(call, (void *)address, 0);
}

static inline void *known_mmap(size_t length)
{
	return CALL_ALLOCATE("mmap", length,
			     mmap(NULL, length, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static inline void known_munmap(void *start, size_t length)
{
	struct call *call = begin("munmap");

	munmap(start, length);
	end(call, start, length);
}

/*
 * A realloc() is up to two events: the release of the old block, if there is
 * one, and the new block, unless that is what realloc(p, 0) does not give.
 */
static inline void *known_realloc(void *block, size_t size)
{
	struct call *release = block ? begin("realloc_free") : NULL;
	struct call *allocation = size ? begin("realloc") : NULL;
	uint64_t old = (uint64_t)block;
	void *new = realloc(block, size);

	if (allocation)
		end(allocation, new, size);
	if (release)
		end(release, (void *)old, 0);
	return new;
}

/* By snprintf() and write(): dprintf() would allocate a buffer. */
static inline void write_call(int file, const struct call *call)
{
	char line[200];
	int length =
		snprintf(line, sizeof(line), "%s %lu %lu %lu %lu %d %d\n",
			 call->operation, call->address, call->size,
			 call->began_ns, call->ended_ns, call->pid, call->tid);

	if (write(file, line, (size_t)length) != length)
		_exit(4);
}

static inline void write_truth(const char *path)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (file < 0)
		_exit(4);
	for (size_t i = 0; i < n_calls; i++)
		write_call(file, &calls[i]);
	close(file);
}

/* Wait at the FIFO `path` until somebody opens and closes its other end. */
static inline void wait_at(const char *path)
{
	int fifo = open(path, O_RDONLY);
	char byte;

	if (fifo < 0 || read(fifo, &byte, 1) != 0)
		_exit(5);
	close(fifo);
}

#endif /* KNOWN_H */
