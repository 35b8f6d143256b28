/* Waits for a line on its standard input, then makes so many calls in each of four threads, or how many. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static long n_calls;

static void *work(void *unused)
{
	for (long n = 0; n < n_calls; n++)
		free(malloc(3011));
	return unused;
}

int main(int count, char **arguments)
{
	pthread_t threads[64];
	int n_threads = count > 2 ? atoi(arguments[2]) : 4;

	n_calls = count > 1 ? atol(arguments[1]) : 1;
	getchar();
	for (int n = 0; n < n_threads && n < 64; n++)
		pthread_create(&threads[n], NULL, work, NULL);
	for (int n = 0; n < n_threads && n < 64; n++)
		pthread_join(threads[n], NULL);
	return 0;
}
