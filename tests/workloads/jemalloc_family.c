/* jemalloc's own functions, in place or not. */
#include "variants.h"

void *mallocx(size_t, int);
void *rallocx(void *, size_t, int);
size_t xallocx(void *, size_t, size_t, int);
void dallocx(void *, int);
void sdallocx(void *, size_t, int);

#define ALIGNED_64 6

/* The size of a block is changed where it is, or nothing happens. */
static int resize(void *block, size_t size)
{
	struct call *release, *allocation;
	size_t before = n_calls;

	release = begin("realloc_free");
	allocation = begin("realloc");
	if (xallocx(block, size, 0, 0) < size) {
		n_calls = before;
		return 0;
	}
	end(release, block, 0);
	end(allocation, block, size);
	return 1;
}

int main(int argc, char **argv)
{
	void *first, *second, *third;
	int n_resized = 0;

	if (argc != 2)
		return 2;
	first = CALL_ALLOCATE("malloc", 3001, mallocx(3001, 0));
	second = CALL_ALLOCATE("malloc", 3002, mallocx(3002, ALIGNED_64));
	first = CALL_REALLOCATE(first, 30003, rallocx(first, 30003, 0));
	third = CALL_ALLOCATE("malloc", 3004, mallocx(3004, 0));
	CALL_RELEASE("free", second, dallocx(second, 0));
	CALL_RELEASE("free", third, sdallocx(third, 3004, 0));
	/* A page less can always be had; and a thousand times more never. */
	n_resized += resize(first, 20000);
	n_resized += resize(first, 1UL << 40);
	if (n_resized != 1)
		return 6;
	known_free(first);
	write_truth(argv[1]);
	return 0;
}
