/*
 * A static program with an allocator of its own, whose realloc() of 666 bytes
 * never returns: it jumps back into main(), as out of a signal handler. Then
 * 40 calls of malloc(), of 100 to 139 bytes.
 */
#include <setjmp.h>
#include <stddef.h>
#include <string.h>

#define N_CALLS 40

static char heap[1 << 20];
static size_t used;
static jmp_buf start;

__attribute__((noinline)) void *malloc(size_t size)
{
	void *block = heap + used;

	used += (size + 15) & ~(size_t)15;
	return block;
}

__attribute__((noinline)) void free(void *block)
{
	(void)block;
}

__attribute__((noinline)) void *calloc(size_t count, size_t size)
{
	return memset(malloc(count * size), 0, count * size);
}

__attribute__((noinline)) void *realloc(void *block, size_t size)
{
	(void)block;
	if (size == 666)
		longjmp(start, 1);
	return malloc(size);
}

int main(void)
{
	void *volatile block;

	if (setjmp(start) == 0)
		block = realloc(NULL, 666);
	for (size_t i = 0; i < N_CALLS; i++)
		block = malloc(100 + i);
	(void)block;
	return 0;
}
