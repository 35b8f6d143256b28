/*
 * Mistakes, and what only looks like one.
 *
 *	mistakes right|wrong
 *
 * Right: blocks that a child frees in its parent's memory (vfork) or in a copy
 * of it, that a thread's end gives back, and that another thread frees. Wrong:
 * three blocks freed twice, and one that realloc() had moved; two mappings
 * freed and one block unmapped; four addresses freed that nobody allocated.
 * The allocator is the program's own and checks nothing.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define NOINLINE __attribute__((noinline))

static char pool[1 << 22] __attribute__((aligned(PAGE)));
static size_t used;

NOINLINE void *malloc(size_t size)
{
	size_t start = __atomic_fetch_add(&used, (size + 31) & ~15UL,
					  __ATOMIC_RELAXED);

	return start + size < sizeof(pool) ? pool + start : NULL;
}

NOINLINE void free(void *block)
{
	__asm__ volatile("" : : "r"(block) : "memory");
}

NOINLINE void *realloc(void *block, size_t size)
{
	size_t start = __atomic_fetch_add(&used, (size + 31) & ~15UL,
					  __ATOMIC_RELAXED);

	return block ? memcpy(pool + start, block, 16) : pool + start;
}

NOINLINE void *aligned_alloc(size_t alignment, size_t size)
{
	size_t start = __atomic_fetch_add(&used, size + 2 * alignment,
					  __ATOMIC_RELAXED);

	return pool + ((start + alignment - 1) & ~(alignment - 1));
}

static void *volatile shared[64];

static void *frees(void *unused)
{
	for (int i = 0; i < 32; i++)
		free(shared[i]);
	return unused;
}

static void right(void)
{
	void *oldest = malloc(99);
	pthread_t thread;

	for (int i = 0; i < 64; i++)
		shared[i] = malloc(100 + i);
	pthread_create(&thread, NULL, frees, NULL);
	pthread_join(thread, NULL);
	for (int i = 32; i < 48; i++) {
		if (vfork() == 0) {
			free(shared[i]);
			shared[i] = malloc(1000 + i);
			_exit(0);
		}
		wait(NULL);
		free(shared[i]);
	}
	for (int i = 48; i < 64; i++) {
		if (fork() == 0) {
			free(shared[i]);
			shared[i] = malloc(2000 + i);
			/* A copy of a copy. */
			if (fork() == 0) {
				free(shared[i]);
				free(oldest);
				_exit(0);
			}
			wait(NULL);
			free(shared[i]);
			_exit(0);
		}
		wait(NULL);
	}
	for (int i = 48; i < 64; i++)
		free(shared[i]);
	free(oldest);
}

static void wrong(void)
{
	void *moved = malloc(500), *kept;

	for (int i = 0; i < 3; i++) {
		shared[i] = malloc(3000 + i);
		free(shared[i]);
		free(shared[i]);
	}
	for (int i = 0; i < 2; i++)
		free(mmap(NULL, 3 * PAGE, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	munmap(aligned_alloc(PAGE, PAGE), PAGE);
	for (int i = 0; i < 4; i++)
		free(pool + sizeof(pool) - 16 * (i + 1));
	kept = realloc(moved, 600);
	free(kept);
	free(moved);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (strcmp(argv[1], "wrong") == 0)
		wrong();
	else
		right();
	return 0;
}
