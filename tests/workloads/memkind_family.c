/* memkind's functions for memory of high bandwidth, each once; where there is
 * none, they give other memory. */
#include "variants.h"

void *hbw_malloc(size_t size);
void *hbw_calloc(size_t count, size_t size);
void *hbw_realloc(void *block, size_t size);
int hbw_posix_memalign(void **block, size_t alignment, size_t size);
int hbw_posix_memalign_psize(void **block, size_t alignment, size_t size,
			     int page_size);
void hbw_free(void *block);
int hbw_check_available(void);

#define PAGE_SIZE_4KB 1

static void *aligned(int with_page_size)
{
	struct call *call = begin("posix_memalign");
	void *block = NULL;
	size_t size = with_page_size ? 504 : 503;

	if (with_page_size)
		hbw_posix_memalign_psize(&block, 64, size, PAGE_SIZE_4KB);
	else
		hbw_posix_memalign(&block, 64, size);
	end(call, block, size);
	return block;
}

int main(int argc, char **argv)
{
	void *blocks[4];

	if (argc != 2)
		return 2;
	/* Else the first allocation sets memkind up, by hundreds of calls. */
	hbw_check_available();
	blocks[0] = CALL_ALLOCATE("malloc", 501, hbw_malloc(501));
	blocks[1] = CALL_ALLOCATE("calloc", 3 * 502, hbw_calloc(3, 502));
	blocks[2] = aligned(0);
	blocks[3] = aligned(1);
	blocks[0] = CALL_REALLOCATE(blocks[0], 20505,
				    hbw_realloc(blocks[0], 20505));
	for (int i = 0; i < 4; i++)
		CALL_RELEASE("free", blocks[i], hbw_free(blocks[i]));
	write_truth(argv[1]);
	return 0;
}
