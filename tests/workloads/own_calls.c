/*
 * What the C library maps, unmaps and frees for itself: blocks that are
 * mappings, an arena made by a thread that begins with free(), an arena that
 * is given back, thread stacks, and what a thread kept in reserve. Beside it
 * what the program maps where a block has been.
 */
#include "known.h"

#include <pthread.h>

#define LARGE (1UL << 20)
#define N_BLOCKS 200
#define N_SMALL 20

static void *volatile given;

/* As deep on the stack as it takes to lie below a free() before. */
__attribute__((noinline)) static void unmap_deeper(void *start, size_t length)
{
	volatile char room[512];

	room[0] = room[511] = 1;
	known_munmap(start, length);
	room[1] = 1;
}

static void large_blocks(void)
{
	void *block = known_malloc(LARGE);
	void *mapping;

	known_free(block);
	/* Most probably at the same address. */
	mapping = known_mmap(LARGE + 4096);
	unmap_deeper(mapping, LARGE + 4096);
	block = known_malloc(LARGE);
	block = known_realloc(block, 3 * LARGE);
	block = known_realloc(block, 3000);
	known_free(block);
}

static void *frees_first(void *unused)
{
	known_free(given);
	known_free(known_malloc(3000));
	return unused;
}

static void *fills_arena(void *unused)
{
	void *blocks[N_BLOCKS];

	for (size_t i = 0; i < N_BLOCKS; i++)
		blocks[i] = known_malloc(100000 + i);
	for (size_t i = 0; i < N_BLOCKS; i++)
		known_free(blocks[i]);
	return unused;
}

static void *keeps_in_reserve(void *unused)
{
	void *blocks[N_SMALL];

	for (size_t i = 0; i < N_SMALL; i++)
		blocks[i] = known_malloc(100 + 16 * (i % 5));
	for (size_t i = 0; i < N_SMALL; i++)
		known_free(blocks[i]);
	return unused;
}

static void in_a_thread(void *(*work)(void *))
{
	pthread_t thread;

	pthread_create(&thread, NULL, work, NULL);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	large_blocks();
	given = known_malloc(2000);
	in_a_thread(frees_first);
	for (int i = 0; i < 3; i++) {
		in_a_thread(fills_arena);
		in_a_thread(keeps_in_reserve);
	}
	write_truth(argv[1]);
	return 0;
}
