/* Mappings, released whole and in parts. */
#include "known.h"

#define PAGE 4096UL

int main(int argc, char **argv)
{
	char *whole, *parts;

	if (argc != 2)
		return 2;
	whole = known_mmap(5 * PAGE + 1);
	parts = known_mmap(4 * PAGE);
	known_munmap(whole, 5 * PAGE + 1);
	known_munmap(parts + PAGE, PAGE);
	known_munmap(parts, PAGE);
	known_munmap(parts + 2 * PAGE, 2 * PAGE);
	write_truth(argv[1]);
	return 0;
}
