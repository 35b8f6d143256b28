/* Many addresses of every kind, used again and again: mixture TRUTH [FIFO]. */
#include "known.h"

#define N_BLOCKS 3000

static void *blocks[N_BLOCKS];

static void heap(void)
{
	for (size_t i = 0; i < N_BLOCKS; i++)
		blocks[i] = known_malloc(16 + i % 200);
	for (size_t i = 0; i < N_BLOCKS; i += 3)
		blocks[i] = known_realloc(blocks[i], 300 + i % 50);
	for (size_t i = 0; i < N_BLOCKS; i++)
		known_free(blocks[i]);
}

static void mappings(void)
{
	void *addresses[20];

	for (size_t i = 0; i < 20; i++)
		addresses[i] = known_mmap(4096 * (i + 1));
	for (size_t i = 0; i < 20; i++)
		known_munmap(addresses[i], 4096 * (i + 1));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	heap();
	mappings();
	heap();
	write_truth(argv[1]);
	if (argc > 2)
		wait_at(argv[2]);
	return 0;
}
