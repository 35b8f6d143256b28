/*
 * A server under load that says how far it comes.
 *
 * paced THREADS SPIN DEPTH: each thread allocates and releases a block for each
 * request, below DEPTH further functions, and counts to SPIN in between. Every
 * 100 ms a line on standard output: requests so far, nanoseconds of CPU that
 * the threads took for them, and nanoseconds since boot. It runs until it is
 * killed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define BATCH 64
#define LINE_US 100000

#define noinline __attribute__((noinline))

static atomic_long requests;
static int spin, depth;

static noinline void wait_a_bit(void)
{
	for (volatile int i = 0; i < spin; i++)
		;
}

static noinline void serve(int below)
{
	if (below > 0) {
		serve(below - 1);
		return;
	}
	for (int i = 0; i < BATCH; i++) {
		char *volatile block = malloc(64 + i);

		wait_a_bit();
		free(block);
	}
}

static void *run(void *unused)
{
	for (;;) {
		serve(depth);
		atomic_fetch_add(&requests, BATCH);
	}
	return unused;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	struct timespec cpu, now;

	spin = argc > 2 ? atoi(argv[2]) : 100;
	depth = argc > 3 ? atoi(argv[3]) : 8;
	for (int i = 0; i < threads && i < MAX_THREADS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, run, NULL) != 0)
			return 1;
	}
	for (;;) {
		usleep(LINE_US);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
		clock_gettime(CLOCK_BOOTTIME, &now);
		printf("%ld %ld %ld\n", atomic_load(&requests),
		       cpu.tv_sec * 1000000000L + cpu.tv_nsec,
		       now.tv_sec * 1000000000L + now.tv_nsec);
		fflush(stdout);
	}
}
