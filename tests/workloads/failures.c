/* Calls that fail, and calls that do nothing. */
#include "known.h"

#define TOO_MUCH ((size_t)1 << 62)

static void *bad_alignment(void)
{
	/* What stays here after the failure is no address. */
	void *block = (void *)0x1234;

	return posix_memalign(&block, 3, 500) ? NULL : block;
}

int main(int argc, char **argv)
{
	volatile size_t huge = SIZE_MAX;
	void *block;

	if (argc != 2)
		return 2;
	known_malloc(TOO_MUCH);
	CALL_ALLOCATE("calloc", huge, calloc(huge, 2)); /* no product */
	CALL_ALLOCATE("calloc", 0, calloc(0, 0));
	CALL_ALLOCATE("posix_memalign", 500, bad_alignment());
	known_mmap(0);

	block = known_malloc(600);
	known_realloc(block, TOO_MUCH); /* the block lives on */
	known_free(block);

	free(NULL);
	munmap(NULL, 0);	      /* refused */
	munmap((void *)0x1001, 4096); /* refused */
	write_truth(argv[1]);
	return 0;
}
