/*
 * Calls each function of the allocator from a line that it knows, and writes
 * operation, function and line of each call where the test reads them.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define noinline __attribute__((noinline))

static struct {
	const char *operation, *function;
	int line;
} calls[1000];
static int n_calls;
static void *volatile sink;

static void note(const char *operation, const char *function, int line)
{
	calls[n_calls].operation = operation;
	calls[n_calls].function = function;
	calls[n_calls++].line = line;
}

#define NOTE(operation) note(operation, __func__, __LINE__)

/* After its call each does something, so that none is a jump. */
/* clang-format off */
static noinline void by_malloc(void) { sink = malloc(100); NOTE("malloc"); }
static noinline void by_calloc(void) { sink = calloc(3, 7); NOTE("calloc"); }
static noinline void by_free(void) { free(sink); NOTE("free"); }
static noinline void by_realloc(void) { sink = realloc(sink, 300); NOTE("realloc_free"); NOTE("realloc"); }
static noinline void by_posix_memalign(void) { void *block; if (!posix_memalign(&block, 64, 100)) NOTE("posix_memalign"); sink = block; }
static noinline void by_aligned_alloc(void) { sink = aligned_alloc(64, 128); NOTE("aligned_alloc"); }
static noinline void by_mmap(void) { sink = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); NOTE("mmap"); }
static noinline void by_munmap(void) { munmap(sink, 8192); NOTE("munmap"); }
/* clang-format on */

static noinline void round_of_calls(void)
{
	by_malloc();
	by_realloc();
	by_free();
	by_calloc();
	by_free();
	by_posix_memalign();
	by_free();
	by_aligned_alloc();
	by_free();
	by_mmap();
	by_munmap();
}

int main(int argc, char **argv)
{
	int truth;

	if (argc != 2)
		return 2;
	for (int i = 0; i < 20; i++)
		round_of_calls();
	truth = open(argv[1], O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < n_calls; i++)
		dprintf(truth, "%s %s %d\n", calls[i].operation,
			calls[i].function, calls[i].line);
	return 0;
}
