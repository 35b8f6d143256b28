/* Coroutines that hand over to each other, on stacks of malloc() and mmap(), with allocations in between. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { COROUTINES = 8, ROUNDS = 50, STACK_BYTES = 64 << 10 };

static ucontext_t scheduler, coroutines[COROUTINES];
static long total;

static void run(int number)
{
	for (int i = 0; i < ROUNDS; i++) {
		char *block = malloc(100 + number);
		swapcontext(&coroutines[number], &scheduler);
		total += number;
		free(block);
	}
}

int main(void)
{
	void *stacks[COROUTINES];

	for (int i = 0; i < COROUTINES; i++) {
		stacks[i] = i % 2 ? malloc(STACK_BYTES) :
				    mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		getcontext(&coroutines[i]);
		coroutines[i].uc_stack.ss_sp = stacks[i];
		coroutines[i].uc_stack.ss_size = STACK_BYTES;
		coroutines[i].uc_link = &scheduler;
		makecontext(&coroutines[i], (void (*)(void))run, 1, i);
	}
	for (int round = 0; round <= ROUNDS; round++)
		for (int i = 0; i < COROUTINES; i++)
			swapcontext(&scheduler, &coroutines[i]);
	for (int i = 0; i < COROUTINES; i++)
		if (i % 2)
			free(stacks[i]);
		else
			munmap(stacks[i], STACK_BYTES);
	printf("%ld\n", total);
	return 12;
}
