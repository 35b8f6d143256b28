/*
 * A recursion that allocates at every level, and goes deeper than a slice of
 * its stack: at last malloc(10001), below 150 frames of 2 KiB.
 */
#include <stdlib.h>
#include <string.h>

#define DEPTH 150

void *volatile kept;

static __attribute__((noinline)) void descend(int depth)
{
	volatile char frame[2048];

	memset((void *)frame, depth, sizeof(frame));
	kept = malloc(depth == 0 ? 10001 : 100);
	if (depth > 0)
		descend(depth - 1);
	frame[0] = frame[1];
}

int main(void)
{
	descend(DEPTH);
	return 0;
}
