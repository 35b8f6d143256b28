/* Eight threads that allocate, hand over and release. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *handed_over[64];
static long total;

static void *work(void *number)
{
	for (long i = 0; i < 500; i++) {
		char *block = (char *)malloc(100 + i);
		memset(block, 'x', 100 + i);
		pthread_mutex_lock(&lock);
		char *other = handed_over[i % 64];
		handed_over[i % 64] = block;
		total += i;
		pthread_mutex_unlock(&lock);
		free(other);
	}
	return number;
}

int main(void)
{
	pthread_t threads[8];
	for (long i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	for (long i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	for (long i = 0; i < 64; i++)
		free(handed_over[i]);
	printf("%ld\n", total);
	return 3;
}
