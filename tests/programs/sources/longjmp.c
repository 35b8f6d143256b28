/* Leaps out of deep calls and of a signal handler, between allocations. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf back;
static sigjmp_buf out;
static void *volatile sink;

static void leap(int depth)
{
	sink = malloc(100 + depth);
	free(sink);
	if (depth == 0)
		longjmp(back, 7);
	leap(depth - 1);
}

static void handle(int signal)
{
	siglongjmp(out, signal);
}

int main(void)
{
	volatile int leaps = 0;
	signal(SIGUSR1, handle);
	for (int i = 0; i < 100; i++) {
		if (setjmp(back))
			leaps++;
		else
			leap(i % 10);
		if (sigsetjmp(out, 1))
			leaps++;
		else
			raise(SIGUSR1);
	}
	printf("%d leaps\n", leaps);
	return 11;
}
