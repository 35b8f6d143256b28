/* Each function of the malloc family so many times, in an order that the test knows; uses no other library. */
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int count, char **arguments)
{
	long rounds = count > 1 ? atol(arguments[1]) : 1;

	for (long round = 0; round < rounds; round++) {
		void *block = malloc(3011);

		free(block);
		free(NULL);
		free(calloc(2, 1511));
		block = malloc(3037);
		block = realloc(block, 3041);
		free(block);
		if (posix_memalign(&block, 64, 3061))
			return 1;
		free(block);
		free(aligned_alloc(64, 3136));
		free(memalign(64, 3083));
		free(valloc(3089));
		block = mmap(NULL, 28672, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(block, 28672);
	}
	return 0;
}
