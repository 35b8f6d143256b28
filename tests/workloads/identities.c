/*
 * Allocations under different names: identities TRUTH [FIFO]. Waits at the
 * FIFO, if given one, before the first of them; two threads are there by then,
 * and TRUTH.pid says "pid tid" of the process and its second thread.
 *
 *	1001	main thread, as it was started
 *	1002	second thread
 *	1003	main thread, renamed
 *	1004	child, of the same name, with another user and group
 */
#include "known.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define OTHER_UID 65534
#define OTHER_GID 65533

static pthread_barrier_t start;
static atomic_int second_tid;

static void *second(void *unused)
{
	second_tid = gettid();
	pthread_barrier_wait(&start);
	known_free(known_malloc(1002));
	return unused;
}

static void say_ids(const char *path)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	char line[40];
	int length = snprintf(line, sizeof(line), "%d %d\n", getpid(),
			      (int)second_tid);

	if (write(file, line, (size_t)length) != length)
		_exit(4);
	close(file);
}

static void child(void)
{
	if (setgid(OTHER_GID) || setuid(OTHER_UID))
		_exit(6);
	known_free(known_malloc(1004));
	_exit(0);
}

int main(int argc, char **argv)
{
	static char path[4096];
	pthread_t thread;
	int status = 0;

	if (argc < 2)
		return 2;
	pthread_barrier_init(&start, NULL, 2);
	pthread_create(&thread, NULL, second, NULL);
	while (!second_tid)
		usleep(1000);
	if (argc > 2) {
		snprintf(path, sizeof(path), "%s.pid", argv[1]);
		say_ids(path);
		wait_at(argv[2]);
	}
	known_free(known_malloc(1001));
	pthread_barrier_wait(&start);
	pthread_join(thread, NULL);
	prctl(PR_SET_NAME, "renamed");
	known_free(known_malloc(1003));
	if (fork() == 0)
		child();
	wait(&status);
	write_truth(argv[1]);
	return WEXITSTATUS(status);
}
