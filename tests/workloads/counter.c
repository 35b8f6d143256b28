/* Allocates 1, 2, 3, … bytes from a few depths, until it is killed: any prefix of that is known. */
#include <stdlib.h>
#include <unistd.h>

static void *volatile sink;

__attribute__((noinline)) static void allocate(size_t size, int depth)
{
	if (depth > 0)
		allocate(size, depth - 1);
	else
		sink = malloc(size);
	__asm__ volatile("");
}

int main(void)
{
	for (size_t size = 1;; size++) {
		allocate(size, (int)(size % 50));
		free(sink);
		if (size % 1000 == 0)
			usleep(1000);
	}
}
