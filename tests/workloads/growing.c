/*
 * For so many seconds about so many calls of malloc() and free() a second, evenly: of every hundred one leaks, nine
 * go through a cache of 64 blocks, and the others are released at once. Ends with status 3.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CACHED 64
#define TICK_NS 10000000

static void *cache[CACHED];

static __attribute__((noinline)) void leak(void)
{
	void *volatile lost = malloc(1000);

	(void)lost;
}

static __attribute__((noinline)) void replace(long n)
{
	free(cache[n % CACHED]);
	cache[n % CACHED] = malloc(4096);
}

static __attribute__((noinline)) void work(void)
{
	void *volatile used = malloc(64);

	free(used);
}

static void serve(long n)
{
	if (n % 50 == 0)
		leak();
	else if (n % 10 == 0)
		replace(n);
	else
		work();
}

int main(int count, char **arguments)
{
	double seconds = count > 1 ? atof(arguments[1]) : 1;
	long calls_a_second = count > 2 ? atol(arguments[2]) : 10000;
	long in_a_tick = calls_a_second / 200, n = 0;
	struct timespec next;

	printf("growing began\n");
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (long tick = 0; tick < seconds * 100; tick++) {
		for (long i = 0; i < in_a_tick; i++)
			serve(n++);
		next.tv_nsec += TICK_NS;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	return 3;
}
