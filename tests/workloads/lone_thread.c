// lone_thread GO: its first thread ends at once, or when GO.first is there if a second argument is given. Then there are
// two others. One ends when GO.brief is there. The other makes a block of 4321 bytes and frees one of 4322 each 10 ms,
// and when GO is there 5 of 4323, and ends.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *go;
static void *volatile kept;

static void wait_for(const char *what)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.%s", go, what);
	while (access(path, F_OK) != 0)
		usleep(10000);
}

static void *end_early(void *unused)
{
	wait_for("brief");
	return unused;
}

static void *run(void *unused)
{
	while (access(go, F_OK) != 0) {
		kept = malloc(4321);
		free(malloc(4322));
		usleep(10000);
	}
	for (int i = 0; i < 5; i++)
		kept = malloc(4323);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t brief, thread;

	if (argc < 2)
		return 2;
	go = argv[1];
	pthread_create(&brief, NULL, end_early, NULL);
	pthread_create(&thread, NULL, run, NULL);
	if (argc > 2)
		wait_for("first");
	pthread_exit(NULL);
}
