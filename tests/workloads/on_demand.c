/*
 * Allocates when it is told to: each line of the input is a number of blocks
 * and their size in bytes. Every second block is released. Says "done" after
 * each line.
 */
#include <stdio.h>
#include <stdlib.h>

static __attribute__((noinline)) void *leak(size_t size)
{
	return malloc(size);
}

static __attribute__((noinline)) void work(int count, size_t size)
{
	for (int i = 0; i < count; i++) {
		void *block = leak(size);

		if (i % 2)
			free(block);
	}
}

int main(void)
{
	char in[256], out[256];
	int count;
	size_t size;

	/* No buffer of the C library's own, which it would allocate. */
	setvbuf(stdin, in, _IOFBF, sizeof(in));
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	while (scanf("%d %zu", &count, &size) == 2) {
		work(count, size);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
