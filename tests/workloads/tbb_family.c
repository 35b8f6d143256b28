/* TBB's functions, and its pools, whose blocks are the second argument. */
#include "variants.h"

#include <stdint.h>

void *scalable_malloc(size_t);
void *scalable_calloc(size_t, size_t);
void *scalable_realloc(void *, size_t);
void *scalable_aligned_malloc(size_t, size_t);
void *scalable_aligned_realloc(void *, size_t, size_t);
void scalable_free(void *);
void scalable_aligned_free(void *);

/* Of namespace rml; the policy is that of its version 1. */
struct policy {
	void *(*allocate)(intptr_t pool, size_t *bytes);
	int (*release)(intptr_t pool, void *memory, size_t bytes);
	size_t granularity;
	int version;
	unsigned flags;
};
int _ZN3rml14pool_create_v1ElPKNS_13MemPoolPolicyEPPNS_10MemoryPoolE(
	intptr_t, const struct policy *, void **);
void *_ZN3rml11pool_mallocEPNS_10MemoryPoolEm(void *, size_t);
void *_ZN3rml12pool_reallocEPNS_10MemoryPoolEPvm(void *, void *, size_t);
void *_ZN3rml19pool_aligned_mallocEPNS_10MemoryPoolEmm(void *, size_t, size_t);
int _ZN3rml9pool_freeEPNS_10MemoryPoolEPv(void *, void *);

static char memory[1 << 24] __attribute__((aligned(1 << 16)));
static size_t used;

static void *allocate(intptr_t pool, size_t *bytes)
{
	void *found = memory + used;

	(void)pool;
	used += (*bytes + 0xffff) & ~(size_t)0xffff;
	return used <= sizeof(memory) ? found : NULL;
}

static int release(intptr_t pool, void *block, size_t bytes)
{
	(void)pool;
	(void)block;
	(void)bytes;
	return 0;
}

static void in_a_pool(void)
{
	const struct policy policy = {allocate, release, 0, 1, 0};
	void *pool, *block, *aligned;

	if (_ZN3rml14pool_create_v1ElPKNS_13MemPoolPolicyEPPNS_10MemoryPoolE(
		    1, &policy, &pool))
		_exit(6);
	block = CALL_ALLOCATE(
		"malloc", 501,
		_ZN3rml11pool_mallocEPNS_10MemoryPoolEm(pool, 501));
	block = CALL_REALLOCATE(
		block, 5002,
		_ZN3rml12pool_reallocEPNS_10MemoryPoolEPvm(pool, block, 5002));
	aligned =
		CALL_ALLOCATE("aligned_alloc", 503,
			      _ZN3rml19pool_aligned_mallocEPNS_10MemoryPoolEmm(
				      pool, 503, 64));
	CALL_RELEASE("free", block,
		     _ZN3rml9pool_freeEPNS_10MemoryPoolEPv(pool, block));
	CALL_RELEASE("free", aligned,
		     _ZN3rml9pool_freeEPNS_10MemoryPoolEPv(pool, aligned));
}

int main(int argc, char **argv)
{
	void *first, *second, *third;

	if (argc != 2)
		return 2;
	first = CALL_ALLOCATE("malloc", 401, scalable_malloc(401));
	second = CALL_ALLOCATE("calloc", 2 * 402, scalable_calloc(2, 402));
	third = CALL_ALLOCATE("aligned_alloc", 403,
			      scalable_aligned_malloc(403, 64));
	first = CALL_REALLOCATE(first, 4004, scalable_realloc(first, 4004));
	third = CALL_REALLOCATE(third, 4005,
				scalable_aligned_realloc(third, 4005, 64));
	CALL_RELEASE("free", first, scalable_free(first));
	CALL_RELEASE("free", second, scalable_free(second));
	CALL_RELEASE("free", third, scalable_aligned_free(third));
	in_a_pool();
	write_truth(argv[1]);
	return 0;
}
