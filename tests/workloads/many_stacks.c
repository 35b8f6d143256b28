/*
 * COUNT allocations of 77 bytes as fast as it goes, each at the end of a call
 * path of its own, with 2 KiB of stack a call. Nothing is released. Below are
 * more calls than the gadget walks: so it sends a copy of each stack.
 */
#include <stdlib.h>

#define DEPTH 14 /* of the paths: there are 2^DEPTH */
#define BELOW 1000

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

apart static void descend_all(unsigned n_paths, int n_below)
{
	if (n_below > 0) {
		descend_all(n_paths, n_below - 1);
		__asm__ volatile("nop");
		return;
	}
	for (unsigned path = 0; path < n_paths; path++)
		descend(path, DEPTH);
}

int main(int count, char **arguments)
{
	descend_all(count > 1 ? atoi(arguments[1]) : 1 << DEPTH, BELOW);
	return 0;
}
