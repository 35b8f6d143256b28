/*
 * A static program with an allocator of its own, some of whose calls never
 * return: realloc() of 666 bytes jumps back to its caller's caller, as an
 * exception would. A signal comes inside calloc() of 777 bytes, before it
 * returns; its handler calls malloc() on a stack of its own. What follows is
 * known: a line for each call, with name, size and address.
 *
 * leaps same|above|below|nested|fibers|stale-fiber|abandoned
 * leaps interrupted|interrupted-below|pages
 */
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define N_CALLS 40
#define STACK_BYTES 65536
#define LARGEST_PAGE 65536

void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void *aligned_alloc(size_t, size_t);
void *memalign(size_t, size_t);

struct note {
	const char *operation;
	size_t size;
	void *address;
};

static char heap[1 << 22] __attribute__((aligned(64)));
static size_t used;
static jmp_buf start;
static struct note notes[8 * N_CALLS];
static int n_notes;
static ucontext_t main_context, fibers[2];
/* In memory the second one lies above the first one, both below main's. */
static char stacks[2][STACK_BYTES] __attribute__((aligned(16)));

__attribute__((noinline)) void *malloc(size_t size)
{
	void *block = heap + used;

	used += (size + 63) & ~(size_t)63;
	return block;
}

__attribute__((noinline)) void free(void *block)
{
	(void)block;
}

/*
 * The handler may find anything in place of the return address: the kernel's
 * return trampoline saves registers there.
 */
static void be_interrupted(void *volatile *return_address)
{
	void *saved = *return_address;

	*return_address = NULL;
	raise(SIGUSR1);
	*return_address = saved;
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) void *
calloc(size_t count, size_t size)
{
	void *block = memset(malloc(count * size), 0, count * size);

	if (size == 777)
		be_interrupted((void *volatile *)__builtin_frame_address(0) + 1);
	return block;
}

/* Never returns NULL; gcc would make jumps of these calls. */
__attribute__((noinline)) void *realloc(void *block, size_t size)
{
	char *new;

	(void)block;
	if (size == 666)
		longjmp(start, 1);
	new = malloc(size);
	*new = 1;
	return new;
}

__attribute__((noinline)) void *aligned_alloc(size_t alignment, size_t size)
{
	char *new = malloc(size);

	*new = (char)alignment;
	return new;
}

/* A jump: its return is that of aligned_alloc(). */
__attribute__((noinline, optimize("O2"))) void *memalign(size_t alignment,
							 size_t size)
{
	return aligned_alloc(alignment, size);
}

static void note(const char *operation, size_t size, void *address)
{
	notes[n_notes++] = (struct note){ operation, size, address };
}

__attribute__((noinline)) static void call(size_t size)
{
	note("malloc", size, malloc(size));
}

__attribute__((noinline)) static void call_all(size_t size)
{
	note("calloc", size, calloc(1, size));
	note("memalign", size, memalign(64, size));
	note("malloc", size, malloc(size));
	note("realloc", size, realloc(NULL, size));
}

/* With so many bytes of stack in between. */
__attribute__((noinline)) static void deeper(void (*what)(size_t), size_t size)
{
	volatile char room[4096];

	room[0] = room[sizeof(room) - 1] = 1;
	what(size);
	room[1] = 1;
}

static void escape(size_t size)
{
	realloc(NULL, size);
}

/* The call that does not return was at the same place as the next one. */
__attribute__((noinline)) static void escape_and_call(size_t size)
{
	if (setjmp(start) == 0)
		realloc(NULL, 666);
	note("realloc", size, realloc(NULL, size));
}

static void repeat(void (*what)(size_t), int is_deeper)
{
	for (size_t i = 0; i < N_CALLS; i++) {
		if (is_deeper)
			deeper(what, 1100 + i);
		else
			what(1100 + i);
	}
}

/* Each call on another stack than the one before. */
static void fiber_body(int self, int other, int escapes)
{
	if (escapes && setjmp(start) == 0)
		escape(666);
	for (size_t i = 0; i < N_CALLS; i++) {
		call_all(1100 + 50 * (size_t)self + i);
		swapcontext(&fibers[self], &fibers[other]);
	}
}

/* Out of the one stack onto the other, and never back. */
static void abandoning_body(int self, int other, int escapes)
{
	if (escapes)
		escape(666);
	if (setjmp(start) == 0)
		swapcontext(&fibers[self], &fibers[other]);
	repeat(call, 0);
}

static void run_fibers(void (*body)(int, int, int), int first, int escapes)
{
	for (int i = 0; i < 2; i++) {
		getcontext(&fibers[i]);
		fibers[i].uc_stack.ss_sp = stacks[i];
		fibers[i].uc_stack.ss_size = STACK_BYTES;
		fibers[i].uc_link = &main_context;
		/* The one above is the one that escapes. */
		makecontext(&fibers[i], (void (*)(void))body, 3, i, !i,
			    escapes && i == 1);
	}
	swapcontext(&main_context, &fibers[first]);
}

/* Inside of the largest page that machines have, and at its start. */
static void release_pages(void)
{
	char *room = mmap(NULL, 2 * LARGEST_PAGE, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *page = room + LARGEST_PAGE - (size_t)room % LARGEST_PAGE;

	note("munmap", 1100, page + 4096);
	munmap(page + 4096, 1100);
	note("munmap", 1101, page);
	munmap(page, 1101);
}

static void on_signal(int number)
{
	(void)number;
	call(1100);
}

static void interrupted_body(int self, int is_below, int unused)
{
	stack_t stack = { .ss_sp = stacks[!is_below], .ss_size = STACK_BYTES };
	struct sigaction action = { .sa_handler = on_signal,
				    .sa_flags = SA_ONSTACK };

	(void)self;
	(void)unused;
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	calloc(1, 777);
	repeat(call_all, 0);
}

/* The handler's stack lies above the interrupted one, or below it. */
static void run_interrupted(int is_below)
{
	getcontext(&fibers[0]);
	fibers[0].uc_stack.ss_sp = stacks[is_below];
	fibers[0].uc_stack.ss_size = STACK_BYTES;
	fibers[0].uc_link = &main_context;
	makecontext(&fibers[0], (void (*)(void))interrupted_body, 3, 0,
		    is_below, 0);
	swapcontext(&main_context, &fibers[0]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "same";

	if (!strcmp(what, "nested")) {
		repeat(call_all, 0);
	} else if (!strcmp(what, "fibers")) {
		run_fibers(fiber_body, 1, 0);
	} else if (!strcmp(what, "stale-fiber")) {
		run_fibers(fiber_body, 1, 1);
	} else if (!strcmp(what, "abandoned")) {
		run_fibers(abandoning_body, 0, 1);
	} else if (!strcmp(what, "above")) {
		if (setjmp(start) == 0)
			deeper(escape, 666);
		repeat(call, 0);
	} else if (!strcmp(what, "pages")) {
		release_pages();
	} else if (!strncmp(what, "interrupted", 11)) {
		run_interrupted(what[11] != '\0');
	} else if (!strcmp(what, "below")) {
		if (setjmp(start) == 0)
			escape(666);
		repeat(call, 1);
	} else {
		repeat(escape_and_call, 0);
	}
	for (int i = 0; i < n_notes; i++)
		printf("%s %zu %lu\n", notes[i].operation, notes[i].size,
		       (unsigned long)notes[i].address);
	return 0;
}
