/* mremap() in each of its ways: what it gives back and what it gives. */
#include "variants.h"

#include <errno.h>

#define PAGE 4096UL

static void *known_mremap(void *start, size_t length, size_t new_length,
			  int flags, void *place)
{
	int gives_back = length && !(flags & 4 /* MREMAP_DONTUNMAP */);
	size_t before = n_calls;
	struct call *release = gives_back ? begin("munmap") : NULL;
	struct call *mapping = begin("mmap");
	uint64_t old = (uint64_t)start;
	void *new = mremap(start, length, new_length, flags, place);

	if (new == MAP_FAILED) {
		n_calls = before;
		mapping = begin("mmap");
		release = NULL;
	}
	end(mapping, new, new_length);
	if (release)
		end(release, (void *)old, length);
	return new;
}

static void *shared(size_t length)
{
	return CALL_ALLOCATE("mmap", length,
			     mmap(NULL, length, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

/* Into the middle of another mapping, whose pages it takes over. */
static void onto_another(void)
{
	char *room = known_mmap(16 * PAGE), *block = known_mmap(3 * PAGE);

	known_mremap(block, 3 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     room + 4 * PAGE);
	known_munmap(room, 16 * PAGE);
}

static void in_place(void)
{
	char *block = known_mmap(8 * PAGE);

	known_mremap(block, 8 * PAGE, 2 * PAGE, 0, NULL);
	known_munmap(block, 2 * PAGE);
}

/* A part of a mapping goes elsewhere, the rest stays. */
static void part(void)
{
	char *block = known_mmap(6 * PAGE);
	char *moved = known_mremap(block + 2 * PAGE, 2 * PAGE, 4 * PAGE,
				   MREMAP_MAYMOVE, NULL);

	known_munmap(block, 2 * PAGE);
	known_munmap(moved, 4 * PAGE);
	known_munmap(block + 4 * PAGE, 2 * PAGE);
}

/* Nothing changes: there is no room in place; no new length; no mapping. */
static void refused(void)
{
	char *block = known_mmap(4 * PAGE);

	known_munmap(known_mmap(PAGE), PAGE);
	known_mremap(block, 2 * PAGE, 3 * PAGE, 0, NULL);
	known_mremap(block, 2 * PAGE, 0, 0, NULL);
	known_mremap(block + 1, PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL);
	known_munmap(block, 4 * PAGE);
}

/* The old mapping stays: emptied, or as a second view of the same pages. */
static void both_stay(void)
{
	char *block = known_mmap(2 * PAGE), *view = shared(2 * PAGE);
	char *moved = known_mremap(block, 2 * PAGE, 2 * PAGE,
				   MREMAP_MAYMOVE | 4, NULL);
	char *second = known_mremap(view, 0, 2 * PAGE, MREMAP_MAYMOVE, NULL);

	known_munmap(block, 2 * PAGE);
	if (moved != MAP_FAILED)
		known_munmap(moved, 2 * PAGE);
	known_munmap(view, 2 * PAGE);
	known_munmap(second, 2 * PAGE);
}

/* What the C library moves for itself is no event: a block that is a mapping.
 */
static void by_realloc(void)
{
	void *block = known_malloc(1UL << 20);

	block = known_realloc(block, 8UL << 20);
	block = known_realloc(block, 2UL << 20);
	known_free(block);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	onto_another();
	in_place();
	part();
	refused();
	both_stay();
	by_realloc();
	/* Kept: three of these five pages. */
	known_munmap(known_mremap(known_mmap(PAGE), PAGE, 5 * PAGE,
				  MREMAP_MAYMOVE, NULL),
		     2 * PAGE);
	write_truth(argv[1]);
	return 0;
}
