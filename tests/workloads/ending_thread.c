/*
 * A thread that ends inside posix_memalign(), which is this program's own. On
 * standard output the thread's number, afterwards; then waits for its input.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static long tid;

int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	(void)memptr, (void)alignment, (void)size;
	tid = syscall(SYS_gettid);
	return syscall(SYS_exit, 0);
}

static void *work(void *unused)
{
	void *block;

	return posix_memalign(&block, 64, 3011) ? block : unused;
}

int main(void)
{
	pthread_t thread;

	getchar();
	pthread_create(&thread, NULL, work, NULL);
	pthread_join(thread, NULL);
	printf("%ld\n", tid);
	fflush(stdout);
	getchar();
	return 0;
}
