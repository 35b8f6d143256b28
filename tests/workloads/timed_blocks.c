/* So many of malloc() and free(), and on standard output how long they took. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
	long calls = count > 1 ? atol(arguments[1]) : 1;
	double start = now();

	for (long n = 0; n < calls; n++)
		free(malloc(64 + n % 64));
	printf("timed_blocks took %.6f s\n", now() - start);
	return 0;
}
