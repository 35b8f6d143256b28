/*
 * Programs and libraries that are there for a moment only.
 *
 *   gone PROGRAM LIBRARY FOLDER   forks a child that becomes PROGRAM, uses and
 *                                 deletes LIBRARY, and a copy of it that only
 *                                 a child with mounts of its own sees
 *
 * Compiled with -DLIBRARY it is the library, with -DPROGRAM the program.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than the recorder takes to hear of a mapping. */
#define A_MOMENT_US 300000

void *volatile sink;

__attribute__((noinline)) void allocate_in_passing(size_t size)
{
	sink = malloc(size);
	usleep(A_MOMENT_US);
}

#if defined(PROGRAM)

int main(int argc, char **argv)
{
	allocate_in_passing(4001);
	return argc > 1 ? 2 : unlink(argv[0]);
}

#elif !defined(LIBRARY)

static void use(const char *library, size_t size)
{
	void *handle = dlopen(library, RTLD_NOW);
	void (*allocate)(size_t) = handle ? dlsym(handle, "allocate_in_passing") : NULL;

	if (!allocate) {
		fprintf(stderr, "%s\n", dlerror());
		exit(3);
	}
	allocate(size);
	dlclose(handle);
}

static int in_own_mounts(const char *library, const char *folder)
{
	char copy[4096];
	struct stat status;
	int from = open(library, O_RDONLY), to;

	if (from < 0 || fstat(from, &status) || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", folder, "tmpfs", 0, NULL))
		return 4;
	snprintf(copy, sizeof(copy), "%s/inside.so", folder);
	to = open(copy, O_WRONLY | O_CREAT, 0700);
	if (sendfile(to, from, NULL, status.st_size) != status.st_size)
		return 5;
	close(to);
	use(copy, 4003);
	return 0;
}

int main(int argc, char **argv)
{
	int status, failed = 0;

	if (argc != 4)
		return 2;
	if (fork() == 0) {
		execl(argv[1], argv[1], NULL);
		return 6;
	}
	if (fork() == 0)
		return in_own_mounts(argv[2], argv[3]);
	while (wait(&status) > 0)
		failed |= status;
	use(argv[2], 4002);
	unlink(argv[2]);
	return failed != 0;
}

#endif
