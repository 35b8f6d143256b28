/*
 * Servers of many shapes, whose truth is known.
 *
 * servers SHAPE N: so many requests, a nap of 5 ms after each. What keeps memory
 * is the function keep(); churn() allocates and frees in every request. Shapes:
 *
 *   leak      a block lost in every request
 *   rare      one of 2,000 blocks lost at one place
 *   lru       the latest 150 blocks are kept, the oldest is replaced
 *   bounded   a table that is full after a third, never emptied
 *   doubling  a list that realloc() doubles
 *   lumps     a hundred blocks lost in every hundredth request
 *   late      a block lost in every second request of the last third
 *   beat      a block lost in every hundredth request, and nothing else done
 *   ends      a block lost in every request, of which there are few any more
 *             after the first half
 *   paused    as leak, but the process stops in the middle, and another
 *             continues it two seconds later
 *   arena     chunks of 64 KiB, each when the last one is used up
 *   startup   tables at the start, then requests
 *   periodic  a buffer that is flushed now and then
 *   filled    as lru, but full only after two thirds
 *   error     a connection is open for twenty requests; one in twenty is lost
 *   flushed   as periodic, but six blocks are forgotten each time
 *   refill    tables for a fifth, then a block lost in every tenth request
 *   backlog   four blocks into a queue from which three are taken
 *   pool      16 MiB at once, after a quarter
 *   buffers   a buffer for each of six threads, which start one after the other
 *   random    blocks of very different sizes, any of which is replaced
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAP_NS 5000000L
#define LRU_SIZE 150
#define PERIOD 130
#define QUEUE 8192

/* A function that was inlined has no symbol to be named by. */
#define noinline __attribute__((noinline))

static void *volatile kept;
static void *cache[LRU_SIZE];
static void *list;

static noinline void *keep(size_t size)
{
	kept = malloc(size);
	return kept;
}

static noinline void churn(int request)
{
	for (int i = 0; i < 4; i++) {
		char *volatile block = malloc(64 + (request * 37 + i) % 900);

		free(block);
	}
}

static void nap(long ns)
{
	struct timespec time = { ns / 1000000000L, ns % 1000000000L };

	nanosleep(&time, NULL);
}

static noinline void grow(int length)
{
	static int capacity;

	if (length < capacity)
		return;
	capacity = capacity ? 2 * capacity : 4;
	list = realloc(list, capacity * 64);
}

static void stop(void)
{
	pid_t self = getpid();

	if (fork() == 0) {
		sleep(2);
		kill(self, SIGCONT);
		_exit(0);
	}
	raise(SIGSTOP);
}

static void flush(int length)
{
	for (int i = 0; i < length; i++)
		free(cache[i]);
}

static void *queue[QUEUE];
static unsigned int head, tail;

static void put(size_t size)
{
	queue[head++ % QUEUE] = keep(size);
}

static void *take(void)
{
	return queue[tail++ % QUEUE];
}

static void replace(int slot, size_t size)
{
	free(queue[slot]);
	queue[slot] = keep(size);
}

static void *buffer(void *unused)
{
	static __thread void *mine;

	mine = keep(65536);
	kept = mine;
	for (;;)
		pause();
	return unused;
}

static void start_thread(void)
{
	pthread_t thread;

	if (!pthread_create(&thread, NULL, buffer, NULL))
		pthread_detach(thread);
}

static void serve_queue(const char *shape, int request, int n)
{
	if (!strcmp(shape, "filled")) {
		put(300 + request % 7 * 20);
		if (request >= n / 3 * 2)
			free(take());
	} else if (!strcmp(shape, "error")) {
		put(300);
		if (request > 20) {
			void *block = take();

			if (request * 7919L % 20)
				free(block);
		}
	} else if (!strcmp(shape, "flushed")) {
		put(220);
		if (request % PERIOD == PERIOD - 1) {
			for (int i = 0; i < 6; i++)
				take();
			while (tail != head)
				free(take());
		}
	} else if (!strcmp(shape, "refill")) {
		if (request < n / 5)
			put(200);
		if (request < n / 5 || request % 10 == 0)
			put(200);
	} else if (!strcmp(shape, "backlog")) {
		for (int i = 0; i < 4; i++)
			put(200);
		for (int i = 0; i < 3; i++)
			free(take());
	} else if (!strcmp(shape, "pool") && request == n / 4)
		keep(1 << 24);
	else if (!strcmp(shape, "buffers") && request < n / 3 && request % 50 == 9)
		start_thread();
	else if (!strcmp(shape, "random"))
		for (int i = 0; i < 3; i++)
			replace(rand() % 300, 16 << rand() % 9);
}

static void serve(const char *shape, int request, int n)
{
	static int used;

	if (!strcmp(shape, "leak") || !strcmp(shape, "ends"))
		keep(160);
	else if (!strcmp(shape, "paused")) {
		keep(160);
		if (request == n / 2)
			stop();
	} else if (!strcmp(shape, "rare")) {
		for (int i = 0; i < 40; i++) {
			void *block = keep(200);

			if ((request * 40 + i) % 2000)
				free(block);
		}
	} else if (!strcmp(shape, "lru")) {
		free(cache[request % LRU_SIZE]);
		cache[request % LRU_SIZE] = keep(300 + request % 7 * 20);
	} else if (!strcmp(shape, "bounded") && request < n / 3)
		keep(300);
	else if (!strcmp(shape, "doubling"))
		grow(request);
	else if (!strcmp(shape, "lumps") && request % 100 == 50)
		for (int i = 0; i < 100; i++)
			keep(1000);
	else if (!strcmp(shape, "late") && request > n / 3 * 2 && request % 2)
		keep(200);
	else if (!strcmp(shape, "beat") && request % 100 == 0)
		keep(96);
	else if (!strcmp(shape, "arena")) {
		used += 500 + request % 1500;
		if (used > 65536) {
			keep(65536);
			used = 0;
		}
	} else if (!strcmp(shape, "startup") && request < n / 20)
		keep(512);
	else if (!strcmp(shape, "periodic")) {
		cache[request % PERIOD] = keep(220);
		if (request % PERIOD == PERIOD - 1)
			flush(PERIOD);
	}
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 1000;
	const char *shape = argc > 1 ? argv[1] : "leak";
	int ends = !strcmp(shape, "ends"), quiet = !strcmp(shape, "beat");

	for (int request = 0; request < n; request++) {
		if (!quiet)
			churn(request);
		serve(shape, request, n);
		serve_queue(shape, request, n);
		nap(NAP_NS);
	}
	for (int i = 0; ends && i < n / 50; i++) {
		churn(i);
		nap(50 * NAP_NS);
	}
	return 0;
}
