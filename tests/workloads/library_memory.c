/*
 * library_memory [COUNT]: what the C library allocates for itself and keeps:
 * buffers of standard streams, what belongs to threads that have ended, the
 * time zone. And COUNT streams of its own that are written to, and not closed.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_THREADS 8

static void *work(void *argument)
{
	free(malloc(100));
	return argument;
}

int main(int argc, char **argv)
{
	int n_streams = argc > 1 ? atoi(argv[1]) : 0;
	pthread_t threads[N_THREADS];
	time_t now = 0;

	for (int i = 0; i < n_streams; i++)
		fprintf(fopen("/dev/null", "w"), "%d", i);
	printf("%d of %s", getchar(), ctime(&now));
	for (int i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
