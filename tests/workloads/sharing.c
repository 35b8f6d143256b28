// sharing HOW: makes a block of 7001 bytes in each of 20 rounds, and a child that runs in its memory frees
// it and makes one of 7002, which the parent frees. HOW is `vfork`, or `clone` (CLONE_VM, both run at once).
// A last block of 7003 is made by a child, and stays.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 20
#define STACK_BYTES 65536

static void *volatile given, *volatile made;

static int child(void *size)
{
	free(given);
	given = NULL;
	made = malloc((size_t)size);
	_exit(0);
}

static void share(const char *how, size_t size)
{
	static char stack[STACK_BYTES] __attribute__((aligned(16)));
	pid_t pid;

	if (strcmp(how, "clone") == 0) {
		pid = clone(child, stack + STACK_BYTES, CLONE_VM | SIGCHLD, (void *)size);
	} else {
		pid = vfork();
		if (pid == 0)
			child((void *)size);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	(void)argc;
	for (int i = 0; i < ROUNDS; i++) {
		given = malloc(7001);
		share(argv[1], 7002);
		free(made);
	}
	share(argv[1], 7003);
	return 0;
}
