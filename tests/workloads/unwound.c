/*
 * Allocations, told apart by their sizes, at the end of call paths that are
 * hard to walk without frame pointers. Nothing is released.
 */
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#ifndef BIG_FRAME
#define BIG_FRAME 24576
#endif

enum {
	RECURSIVE = 10001,
	CALLED_BACK,
	IN_THREAD,
	IN_HANDLER,
	UNDER_BIG_FRAMES,
};

#define apart __attribute__((noinline, noclone))

static void *volatile kept;

apart void allocate(size_t size)
{
	kept = malloc(size);
	__asm__ volatile("" ::: "memory");
}

apart void recurse(int depth)
{
	char frame[64];

	memset(frame, depth, sizeof(frame));
	if (depth == 0)
		allocate(RECURSIVE);
	else
		recurse(depth - 1);
	__asm__ volatile("" ::"r"(frame) : "memory");
}

static int compare(const void *a, const void *b)
{
	static int is_done;

	if (!is_done) {
		is_done = 1;
		allocate(CALLED_BACK);
	}
	return *(const int *)a - *(const int *)b;
}

apart void sort(void)
{
	int numbers[] = { 3, 1, 2 };

	qsort(numbers, 3, sizeof(numbers[0]), compare);
	__asm__ volatile("" ::"r"(numbers) : "memory");
}

static void *work(void *argument)
{
	allocate(IN_THREAD);
	return argument;
}

apart void in_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, work, NULL);
	pthread_join(thread, NULL);
	__asm__ volatile("" ::: "memory");
}

static void handle(int number)
{
	(void)number;
	allocate(IN_HANDLER);
	__asm__ volatile("" ::: "memory");
}

apart void in_handler(void)
{
	signal(SIGUSR1, handle);
	raise(SIGUSR1);
	__asm__ volatile("" ::: "memory");
}

apart void under_big_frames(size_t size)
{
	char *frame = (char *)alloca(size);

	memset(frame, 1, size);
	allocate(UNDER_BIG_FRAMES);
	__asm__ volatile("" ::"r"(frame) : "memory");
}

int main(void)
{
	recurse(40);
	sort();
	in_thread();
	in_handler();
	under_big_frames(BIG_FRAME);
	return 0;
}
