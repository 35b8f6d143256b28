/*
 * 2^DEPTH allocations of 77 bytes as fast as it goes, each at the end of a
 * call path of its own, with 2 KiB of stack a call. Nothing is released.
 */
#include <stdlib.h>

#define apart __attribute__((noinline, noclone))
#define used_up(frame) __asm__ volatile("" ::"r"(frame) : "memory")

static void *volatile kept;

apart static void descend(unsigned path, int depth)
{
	char frame[2048];

	used_up(frame);
	if (depth == 0) {
		kept = malloc(77);
	} else if (path & 1) {
		descend(path >> 1, depth - 1);
		__asm__ volatile("nop");
	} else {
		descend(path >> 1, depth - 1);
	}
	used_up(frame);
}

int main(int count, char **arguments)
{
	int depth = count > 1 ? atoi(arguments[1]) : 4;

	for (unsigned path = 0; path < 1u << depth; path++)
		descend(path, depth);
	return 0;
}
