/* A hundred stacks: the malloc() of d bytes lies d calls deep. */
#include "known.h"

#define DEEPEST 100

static __attribute__((noinline)) void *descend(size_t depth, size_t size)
{
	void *block = depth ? descend(depth - 1, size) : known_malloc(size);

	/* Something to do after the call keeps it from being a jump. */
	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	for (size_t depth = 1; depth <= DEEPEST; depth++)
		descend(depth, depth);
	write_truth(argv[1]);
	return 0;
}
