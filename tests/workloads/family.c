/*
 * Leaks, and what is none: 1000 bytes that the first process never releases,
 * 2000 that a forked child never does. The child releases what it inherited,
 * and loses 4000 bytes to exec: no leaks. The middle of a mapping is unmapped.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static __attribute__((noinline)) void *leak(size_t size)
{
	return malloc(size);
}

static void run(int execs, void *inherited, const char *program)
{
	if (fork() == 0) {
		void *volatile kept = leak(execs ? 4000 : 2000);

		free(inherited);
		if (execs)
			execl(program, program, "nothing", (char *)NULL);
		_exit(kept ? 0 : 1);
	}
	wait(NULL);
}

int main(int argc, char **argv)
{
	void *volatile kept;
	void *inherited;
	char *mapping;

	if (argc > 1)
		return 0;
	kept = leak(1000);
	inherited = leak(300);
	mapping = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(mapping + PAGE, 2 * PAGE);
	run(0, inherited, argv[0]);
	run(1, inherited, argv[0]);
	free(inherited);
	return kept && mapping ? 0 : 1;
}
