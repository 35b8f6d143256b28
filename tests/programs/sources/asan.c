/* Uses a block after it has been released, and leaks another one. */
#include <stdlib.h>

static char *volatile block;
static void *volatile sink;

__attribute__((noinline)) static void make(void)
{
	block = malloc(77);
	sink = calloc(3, 33);
	sink = realloc(sink, 222);
	sink = NULL;
}

__attribute__((noinline)) static void drop(void)
{
	free(block);
}

int main(void)
{
	make();
	drop();
	return block[3];
}
