/* Threads that end by pthread_exit() and pthread_cancel(), with clean-up handlers that release. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int cleaned_up;

static void clean_up(void *block)
{
	free(block);
	__sync_fetch_and_add(&cleaned_up, 1);
}

static void *end(void *deeply)
{
	void *block = malloc(300);

	pthread_cleanup_push(clean_up, block);
	if (deeply)
		pthread_exit(realloc(malloc(50), 5000));
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void)
{
	for (long i = 0; i < 20; i++) {
		pthread_t thread;
		void *result;

		pthread_create(&thread, NULL, end, (void *)(i % 2));
		if (i % 2 == 0)
			pthread_cancel(thread);
		pthread_join(thread, &result);
		if (result != PTHREAD_CANCELED)
			free(result);
	}
	printf("%d cleaned up\n", cleaned_up);
	return 17;
}
