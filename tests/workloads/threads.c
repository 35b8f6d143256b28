/* Four threads at once, each with calls inside calls. */
#include "known.h"

#include <pthread.h>

#define N_THREADS 4
#define N_ROUNDS 500

static pthread_barrier_t start;

static void *work(void *number)
{
	size_t base = 1000 * (size_t)number;

	pthread_barrier_wait(&start);
	for (size_t i = 0; i < N_ROUNDS; i++) {
		void *block = known_malloc(base + i);
		void *large = known_malloc((1 << 20) + base + i);

		block = known_realloc(block, 2 * (base + i));
		known_free(large);
		known_free(block);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[N_THREADS];

	if (argc != 2)
		return 2;
	pthread_barrier_init(&start, NULL, N_THREADS);
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, work, (void *)(i + 1));
	for (size_t i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	write_truth(argv[1]);
	return 0;
}
