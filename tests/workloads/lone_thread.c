// lone_thread GO: its first thread ends at once, or when GO.first is there if a second argument is given. Another one
// makes a block of 4321 bytes and frees one of 4322 each 10 ms, and when GO is there 5 of 4323, and ends.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *go;
static void *volatile kept;

static void *run(void *unused)
{
	(void)unused;
	while (access(go, F_OK) != 0) {
		kept = malloc(4321);
		free(malloc(4322));
		usleep(10000);
	}
	for (int i = 0; i < 5; i++)
		kept = malloc(4323);
	return NULL;
}

int main(int argc, char **argv)
{
	char first[4096];
	pthread_t thread;

	go = argv[1];
	snprintf(first, sizeof(first), "%s.first", go);
	pthread_create(&thread, NULL, run, NULL);
	while (argc > 2 && access(first, F_OK) != 0)
		usleep(10000);
	pthread_exit(NULL);
}
