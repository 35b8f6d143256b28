/*
 * switched WHERE ROOM: two coroutines that take turns on stacks of their own,
 * in the heap ("heap"), a mapping ("mapping") or the thread's own stack
 * ("thread": one after the other, as plain calls). One makes 30 blocks of 7301
 * bytes by way_of_first(), the other 20 by way_of_second(). Between them and
 * the call of malloc() there is a frame of ROOM bytes that is never written
 * but at its ends, so that pages in it are not there.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define STACK_BYTES (256UL << 10)
#define N_FIRST 30
#define N_SECOND 20

static ucontext_t home, contexts[2];
static void *volatile kept;
static int takes_turns, turn;
static size_t room_bytes;

static void give_way(void)
{
	int from = turn;

	if (!takes_turns)
		return;
	turn = !turn;
	swapcontext(&contexts[from], &contexts[turn]);
}

__attribute__((noinline)) static void allocate(void)
{
	kept = malloc(7301);
}

__attribute__((noinline)) static void with_room(void)
{
	volatile char *room = __builtin_alloca(room_bytes);

	room[0] = room[room_bytes - 1] = 1;
	allocate();
	kept = (void *)&room[1];
}

__attribute__((noinline)) static void way_of_first(void)
{
	with_room();
	kept = NULL;
}

__attribute__((noinline)) static void way_of_second(void)
{
	with_room();
	kept = NULL;
}

static void first(void)
{
	for (int i = 0; i < N_FIRST; i++) {
		way_of_first();
		if (i < N_SECOND)
			give_way();
	}
}

static void second(void)
{
	for (int i = 0; i < N_SECOND; i++) {
		way_of_second();
		give_way();
	}
}

static void prepare(ucontext_t *context, void (*body)(void), int is_mapped,
		    ucontext_t *next)
{
	char *stack = is_mapped
			      ? mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			      : malloc(STACK_BYTES);

	getcontext(context);
	context->uc_stack.ss_sp = stack;
	context->uc_stack.ss_size = STACK_BYTES;
	context->uc_link = next;
	makecontext(context, body, 0);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	room_bytes = strtoul(argv[2], NULL, 10);
	if (!strcmp(argv[1], "thread")) {
		first();
		second();
		return 0;
	}
	takes_turns = 1;
	prepare(&contexts[0], first, !strcmp(argv[1], "mapping"), &home);
	prepare(&contexts[1], second, !strcmp(argv[1], "mapping"), &home);
	swapcontext(&home, &contexts[0]);
	return 0;
}
