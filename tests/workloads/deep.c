/*
 * deep STACK_BYTES N: with so much of the stack in use, allocate and release a
 * block N times, and print how many nanoseconds that took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FRAME_BYTES 96

static char *top;
static void *volatile kept;

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

__attribute__((noinline)) void call_often(long n)
{
	long long start = now_ns();

	for (long i = 0; i < n; i++) {
		kept = malloc(64);
		free(kept);
	}
	printf("%lld\n", now_ns() - start);
}

__attribute__((noinline)) void deepen(long stack_bytes, long n)
{
	volatile char frame[FRAME_BYTES];

	frame[0] = 1;
	if (top - (char *)frame >= stack_bytes)
		call_often(n);
	else
		deepen(stack_bytes, n);
	frame[1] = 1;
}

int main(int argc, char **argv)
{
	char here;

	top = &here;
	if (argc != 3)
		return 2;
	deepen(atol(argv[1]), atol(argv[2]));
	return 0;
}
