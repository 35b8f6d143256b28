/* Calls inside which the C library makes calls of its own. */
#include "known.h"

static void *known_posix_memalign(size_t alignment, size_t size)
{
	void *block = NULL;

	return posix_memalign(&block, alignment, size) ? NULL : block;
}

#define POSIX_MEMALIGN(alignment, size)       \
	CALL_ALLOCATE("posix_memalign", size, \
		      known_posix_memalign(alignment, size))

static void large_blocks(void)
{
	void *block = known_malloc(1 << 20); /* mmap() inside */
	void *zeroed = CALL_ALLOCATE("calloc", 3 << 20, calloc(3, 1 << 20));

	known_free(block); /* munmap() inside */
	known_free(zeroed);
}

static void reallocations(void)
{
	void *block = known_realloc(NULL, 100); /* malloc() inside */

	block = known_realloc(block, 5000);
	block = known_realloc(block, 1 << 21); /* onto a mapping of its own */
	block = known_realloc(block, 1 << 23);
	block = known_realloc(block, 10); /* and back */
	known_realloc(block, 0);	  /* free() inside */

	block = CALL_ALLOCATE("realloc", 7 * 11, reallocarray(NULL, 7, 11));
	known_free(block);
}

static void alignments(void)
{
	known_free(POSIX_MEMALIGN(16, 1000)); /* malloc() inside */
	known_free(POSIX_MEMALIGN(64, 1001));
	known_free(
		CALL_ALLOCATE("aligned_alloc", 1024, aligned_alloc(64, 1024)));
	known_free(
		CALL_ALLOCATE("aligned_alloc", 1040, aligned_alloc(16, 1040)));
	known_free(CALL_ALLOCATE("memalign", 1002, memalign(128, 1002)));
	known_free(CALL_ALLOCATE("memalign", 1003, memalign(8, 1003)));
	known_free(CALL_ALLOCATE("valloc", 1004, valloc(1004)));
	known_free(CALL_ALLOCATE("pvalloc", 1005, pvalloc(1005)));
	known_free(POSIX_MEMALIGN(4096, 2 << 20)); /* mmap() inside */
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	large_blocks();
	reallocations();
	alignments();
	write_truth(argv[1]);
	return 0;
}
