/* mimalloc's own functions, each once; what they gave is released by one of its
 * ways to do so. */
#include "variants.h"

#include <stdbool.h>

typedef struct heap heap;
#define ALLOCATING(name, ...) void *name(__VA_ARGS__);
ALLOCATING(mi_malloc, size_t)
ALLOCATING(mi_malloc_small, size_t)
ALLOCATING(mi_mallocn, size_t, size_t)
ALLOCATING(mi_new, size_t)
ALLOCATING(mi_new_nothrow, size_t)
ALLOCATING(mi_new_n, size_t, size_t)
ALLOCATING(mi_new_aligned, size_t, size_t)
ALLOCATING(mi_new_aligned_nothrow, size_t, size_t)
ALLOCATING(mi_zalloc, size_t)
ALLOCATING(mi_zalloc_small, size_t)
ALLOCATING(mi_calloc, size_t, size_t)
ALLOCATING(mi_malloc_aligned, size_t, size_t)
ALLOCATING(mi_malloc_aligned_at, size_t, size_t, size_t)
ALLOCATING(mi_zalloc_aligned, size_t, size_t)
ALLOCATING(mi_zalloc_aligned_at, size_t, size_t, size_t)
ALLOCATING(mi_calloc_aligned, size_t, size_t, size_t)
ALLOCATING(mi_calloc_aligned_at, size_t, size_t, size_t, size_t)
ALLOCATING(mi_memalign, size_t, size_t)
ALLOCATING(mi_aligned_alloc, size_t, size_t)
ALLOCATING(mi_valloc, size_t)
ALLOCATING(mi_heap_malloc, heap *, size_t)
ALLOCATING(mi_heap_malloc_small, heap *, size_t)
ALLOCATING(mi_heap_mallocn, heap *, size_t, size_t)
ALLOCATING(mi_heap_zalloc, heap *, size_t)
ALLOCATING(mi_heap_calloc, heap *, size_t, size_t)
ALLOCATING(mi_heap_malloc_aligned, heap *, size_t, size_t)
ALLOCATING(mi_heap_malloc_aligned_at, heap *, size_t, size_t, size_t)
ALLOCATING(mi_heap_zalloc_aligned, heap *, size_t, size_t)
ALLOCATING(mi_heap_zalloc_aligned_at, heap *, size_t, size_t, size_t)
ALLOCATING(mi_heap_calloc_aligned, heap *, size_t, size_t, size_t)
ALLOCATING(mi_heap_calloc_aligned_at, heap *, size_t, size_t, size_t, size_t)
ALLOCATING(mi_strdup, const char *)
ALLOCATING(mi_strndup, const char *, size_t)
ALLOCATING(mi_heap_strdup, heap *, const char *)
ALLOCATING(mi_heap_strndup, heap *, const char *, size_t)
ALLOCATING(mi_realloc, void *, size_t)
ALLOCATING(mi_rezalloc, void *, size_t)
ALLOCATING(mi_realloc_aligned, void *, size_t, size_t)
ALLOCATING(mi_realloc_aligned_at, void *, size_t, size_t, size_t)
ALLOCATING(mi_rezalloc_aligned, void *, size_t, size_t)
ALLOCATING(mi_new_realloc, void *, size_t)
ALLOCATING(mi_new_reallocn, void *, size_t, size_t)
ALLOCATING(mi_reallocf, void *, size_t)
ALLOCATING(mi_reallocn, void *, size_t, size_t)
ALLOCATING(mi_reallocarray, void *, size_t, size_t)
ALLOCATING(mi_recalloc, void *, size_t, size_t)
ALLOCATING(mi_recalloc_aligned, void *, size_t, size_t, size_t)
ALLOCATING(mi_heap_realloc, heap *, void *, size_t)
ALLOCATING(mi_heap_reallocf, heap *, void *, size_t)
ALLOCATING(mi_heap_reallocn, heap *, void *, size_t, size_t)
ALLOCATING(mi_heap_rezalloc, heap *, void *, size_t)
ALLOCATING(mi_heap_recalloc, heap *, void *, size_t, size_t)
ALLOCATING(mi_heap_realloc_aligned, heap *, void *, size_t, size_t)
ALLOCATING(mi_heap_realloc_aligned_at, heap *, void *, size_t, size_t, size_t)
ALLOCATING(mi_heap_rezalloc_aligned, heap *, void *, size_t, size_t)
ALLOCATING(mi_heap_recalloc_aligned, heap *, void *, size_t, size_t, size_t)
ALLOCATING(mi_expand, void *, size_t)
int mi_posix_memalign(void **, size_t, size_t);
int mi_reallocarr(void *, size_t, size_t);
void mi_free(void *);
void mi_free_size(void *, size_t);
void mi_free_aligned(void *, size_t);
void mi_free_size_aligned(void *, size_t, size_t);
void mi_cfree(void *);
heap *mi_heap_get_default(void);

#define MAX_BLOCKS 128
static void *blocks[MAX_BLOCKS];
static size_t n_blocks;

#define KEEP(operation, size, call) \
	(blocks[n_blocks++] = CALL_ALLOCATE(operation, size, call))

static void allocate(heap *h)
{
	KEEP("malloc", 101, mi_malloc(101));
	KEEP("malloc", 102, mi_malloc_small(102));
	KEEP("malloc", 103 * 3, mi_mallocn(3, 103));
	KEEP("malloc", 104, mi_new(104));
	KEEP("malloc", 105, mi_new_nothrow(105));
	KEEP("malloc", 106 * 2, mi_new_n(2, 106));
	KEEP("malloc", 107, mi_new_aligned(107, 64));
	KEEP("malloc", 108, mi_new_aligned_nothrow(108, 64));
	KEEP("malloc", 109, mi_heap_malloc(h, 109));
	KEEP("malloc", 110, mi_heap_malloc_small(h, 110));
	KEEP("malloc", 111 * 4, mi_heap_mallocn(h, 4, 111));
	KEEP("calloc", 112, mi_zalloc(112));
	KEEP("calloc", 113, mi_zalloc_small(113));
	KEEP("calloc", 114 * 2, mi_calloc(2, 114));
	KEEP("calloc", 115, mi_heap_zalloc(h, 115));
	KEEP("calloc", 116 * 3, mi_heap_calloc(h, 3, 116));
	KEEP("aligned_alloc", 117, mi_malloc_aligned(117, 32));
	KEEP("aligned_alloc", 118, mi_malloc_aligned_at(118, 32, 8));
	KEEP("aligned_alloc", 119, mi_zalloc_aligned(119, 32));
	KEEP("aligned_alloc", 120, mi_zalloc_aligned_at(120, 32, 8));
	KEEP("aligned_alloc", 121 * 2, mi_calloc_aligned(2, 121, 32));
	KEEP("aligned_alloc", 122 * 2, mi_calloc_aligned_at(2, 122, 32, 8));
	KEEP("aligned_alloc", 123, mi_heap_malloc_aligned(h, 123, 32));
	KEEP("aligned_alloc", 124, mi_heap_malloc_aligned_at(h, 124, 32, 8));
	KEEP("aligned_alloc", 125, mi_heap_zalloc_aligned(h, 125, 32));
	KEEP("aligned_alloc", 126, mi_heap_zalloc_aligned_at(h, 126, 32, 8));
	KEEP("aligned_alloc", 127 * 2, mi_heap_calloc_aligned(h, 2, 127, 32));
	KEEP("aligned_alloc", 128 * 2,
	     mi_heap_calloc_aligned_at(h, 2, 128, 32, 8));
	KEEP("memalign", 129, mi_memalign(64, 129));
	KEEP("aligned_alloc", 192, mi_aligned_alloc(64, 192));
	KEEP("valloc", 131, mi_valloc(131));
	KEEP("malloc", 1UL << 20, mi_malloc(1UL << 20));
}

/* As far as the gadget looks, and one more. */
static void duplicate(heap *h)
{
	static char text[20000];

	memset(text, 'x', sizeof(text) - 1);
	KEEP("malloc", 1, mi_strdup(""));
	KEEP("malloc", 6, mi_strdup("short"));
	for (size_t length = 126; length <= 129; length++)
		KEEP("malloc", length + 1,
		     mi_strdup(text + sizeof(text) - 1 - length));
	KEEP("malloc", 4, mi_strndup("shortened", 3));
	KEEP("malloc", 1001, mi_heap_strdup(h, text + sizeof(text) - 1001));
	KEEP("malloc", 5, mi_heap_strndup(h, "four", 100));
	KEEP("malloc", 64 * 127, mi_strdup(text));
}

#define AGAIN(size, call) (block = CALL_REALLOCATE(block, size, call))

static void reallocate(heap *h)
{
	void *block = NULL;

	AGAIN(201, mi_realloc(block, 201));
	AGAIN(20002, mi_rezalloc(block, 20002));
	AGAIN(203, mi_realloc_aligned(block, 203, 64));
	AGAIN(20004, mi_realloc_aligned_at(block, 20004, 64, 8));
	AGAIN(205, mi_rezalloc_aligned(block, 205, 64));
	AGAIN(20006, mi_new_realloc(block, 20006));
	AGAIN(207 * 3, mi_new_reallocn(block, 3, 207));
	AGAIN(20008, mi_reallocf(block, 20008));
	AGAIN(209 * 2, mi_reallocn(block, 2, 209));
	AGAIN(2010 * 9, mi_reallocarray(block, 9, 2010));
	AGAIN(211 * 2, mi_recalloc(block, 2, 211));
	AGAIN(2012 * 9, mi_recalloc_aligned(block, 9, 2012, 64));
	AGAIN(213, mi_heap_realloc(h, block, 213));
	AGAIN(20014, mi_heap_reallocf(h, block, 20014));
	AGAIN(215 * 2, mi_heap_reallocn(h, block, 2, 215));
	AGAIN(20016, mi_heap_rezalloc(h, block, 20016));
	AGAIN(217 * 2, mi_heap_recalloc(h, block, 2, 217));
	AGAIN(20018, mi_heap_realloc_aligned(h, block, 20018, 64));
	AGAIN(219, mi_heap_realloc_aligned_at(h, block, 219, 64, 8));
	AGAIN(20020, mi_heap_rezalloc_aligned(h, block, 20020, 64));
	AGAIN(221 * 2, mi_heap_recalloc_aligned(h, block, 2, 221, 64));
	/* The address is where the block's was. */
	AGAIN(2022 * 9, (mi_reallocarr(&block, 9, 2022), block));
	/* Where it is, or not at all: then nothing has changed. */
	AGAIN(2000, mi_expand(block, 2000));
	if (mi_expand(block, 1UL << 30))
		_exit(6);
	blocks[n_blocks++] = block;
}

/* What cannot be had; the block lives on, unless the function gives it back. */
static void fail(void)
{
	const size_t too_much = SIZE_MAX / 2;
	void *block = KEEP("malloc", 301, mi_malloc(301));
	void *lost = CALL_ALLOCATE("malloc", 302, mi_malloc(302));

	CALL_ALLOCATE("calloc", too_much, mi_zalloc(too_much));
	CALL_ALLOCATE("calloc", SIZE_MAX, mi_calloc(SIZE_MAX, 2));
	CALL_REALLOCATE(block, too_much, mi_realloc(block, too_much));
	CALL_RELEASE("realloc_free", lost, mi_reallocf(lost, too_much));
}

int main(int argc, char **argv)
{
	void *aligned = NULL;
	struct call *call;

	if (argc != 2)
		return 2;
	allocate(mi_heap_get_default());
	duplicate(mi_heap_get_default());
	reallocate(mi_heap_get_default());
	fail();
	call = begin("posix_memalign");
	mi_posix_memalign(&aligned, 64, 401);
	end(call, aligned, 401);
	for (size_t i = 0; i < n_blocks; i += 4) {
		CALL_RELEASE("free", blocks[i], mi_free(blocks[i]));
		if (i + 1 < n_blocks)
			CALL_RELEASE("free", blocks[i + 1],
				     mi_free_size(blocks[i + 1], 1));
		if (i + 2 < n_blocks)
			CALL_RELEASE("free", blocks[i + 2],
				     mi_free_aligned(blocks[i + 2], 1));
		if (i + 3 < n_blocks)
			CALL_RELEASE("free", blocks[i + 3],
				     mi_cfree(blocks[i + 3]));
	}
	CALL_RELEASE("free", aligned, mi_free_size_aligned(aligned, 401, 64));
	write_truth(argv[1]);
	return 0;
}
