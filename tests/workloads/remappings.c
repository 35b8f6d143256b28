/* Threads that move mappings, so that one is given what another gave up. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#define PAGE 4096

static void *map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *move(void *unused)
{
	(void)unused;
	for (int i = 0; i < 2000; i++) {
		size_t size = (i % 5 + 3) * PAGE;
		char *moved =
			mremap(map(2 * PAGE), 2 * PAGE, size, MREMAP_MAYMOVE);

		munmap(moved, size);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, move, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	map(7 * PAGE);
	/* The kernel refuses it: nothing is mapped there. */
	mremap((void *)PAGE, PAGE, 3 * PAGE, 0);
	return 0;
}
