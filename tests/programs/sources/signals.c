/* Signals that come while the program allocates, handled on another stack, with mappings made in the handler. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>

static volatile int handled;

static void handle(int signal)
{
	void *pages = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(pages, 8192);
	handled++;
}

int main(void)
{
	struct itimerval often = {{0, 300}, {0, 300}};
	stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};

	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (long i = 0; handled < 500; i++)
		free(realloc(malloc(100 + i % 1000), 50000 + i % 200000));
	often = (struct itimerval){{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, NULL);
	puts("handled");
	return 18;
}
