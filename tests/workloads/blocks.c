/* N times malloc() and free(), as fast as they go: blocks TRUTH N. */
#include "known.h"

int main(int argc, char **argv)
{
	long n = argc == 3 ? atol(argv[2]) : 0;

	if (n <= 0)
		return 2;
	for (long i = 0; i < n; i++)
		known_free(known_malloc(1 + (size_t)i % 1000));
	write_truth(argv[1]);
	return 0;
}
