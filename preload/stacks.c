/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack's number is the hash of its addresses. Which ones were sent stands
 * in a table of hashes; one that is forgotten there is sent again, no more.
 */
#include "stacks.h"

#define SENT_BITS 20
#define SENT_PROBES 8
#define SCRATCHES 64

/* Not on the stack, which may be small, nor each thread's own: it is large. */
static struct scratch {
	uint64_t user;
	struct walk walk;
} * scratches;
static uint64_t *sent;
static uint64_t seed;

bool stacks_prepare(uint64_t first_seed)
{
	scratches = new_pages(SCRATCHES * sizeof(*scratches));
	sent = new_pages((sizeof(*sent) << SENT_BITS) +
			 SENT_PROBES * sizeof(*sent));
	seed = first_seed;
	return scratches && sent;
}

void stacks_begin_anew(uint64_t another_seed)
{
	WRITE(seed, mixed(READ(seed), another_seed));
}

void stacks_free_scratches(void)
{
	for (int i = 0; i < SCRATCHES; i++)
		scratches[i].user = 0;
}

/* One that nobody uses: a signal may interrupt who does. NULL if all are. */
static struct scratch *take_scratch(void)
{
	uint32_t first = this_thread.tid;

	for (uint32_t i = 0; i < SCRATCHES; i++) {
		struct scratch *scratch = &scratches[(first + i) % SCRATCHES];
		uint64_t user = 0;

		if (swap_if(&scratch->user, &user, this_thread.tid))
			return scratch;
	}
	return NULL;
}

static bool send_part(uint64_t number, const struct walk *walk, uint32_t first)
{
	struct stack_path *path = ring_reserve(&ring, sizeof(*path));
	uint32_t n_here = walk->n_frames - first;

	if (!path)
		return false;
	if (n_here > PATH_RECORD_FRAMES)
		n_here = PATH_RECORD_FRAMES;
	*path = (struct stack_path){
		.slice = number,
		.timestamp = now_ns(CLOCK_BOOTTIME),
		.pid = this_thread.pid,
		.tid = this_thread.tid,
		.first = first,
		.total = walk->n_frames,
	};
	memcpy(path->addresses, walk->pcs + first,
	       n_here * sizeof(*path->addresses));
	ring_submit(path);
	return true;
}

static bool send_stack(uint64_t number, const struct walk *walk)
{
	for (uint32_t first = 0; first < walk->n_frames;
	     first += PATH_RECORD_FRAMES) {
		if (!send_part(number, walk, first)) {
			ADD(ring.writer->lost_stacks, 1);
			return false;
		}
	}
	return true;
}

/* Where `number` is, or is to be. */
static uint64_t *place_of(uint64_t number)
{
	uint64_t *first = &sent[number >> (64 - SENT_BITS)];

	for (int i = 0; i < SENT_PROBES; i++) {
		uint64_t found = READ(first[i]);

		if (found == number || found == 0)
			return &first[i];
	}
	return first;
}

static uint64_t numbered(const struct walk *walk)
{
	uint64_t number = READ(seed);
	uint64_t *place;

	for (uint32_t i = 0; i < walk->n_frames; i++)
		number = mixed(number, walk->pcs[i]);
	number |= 2; /* neither 0 nor SLICE_MISSED */
	place = place_of(number);
	if (LIKELY(READ(*place) == number))
		return number;
	if (!send_stack(number, walk))
		return SLICE_MISSED;
	WRITE(*place, number);
	return number;
}

uint64_t stack_number(struct frame frame)
{
	struct scratch *scratch = take_scratch();
	uint64_t number;

	if (!scratch)
		return SLICE_MISSED;
	scratch->walk.n_frames = 0;
	walk_stack(&this_thread.readable, frame, &scratch->walk);
	if (UNLIKELY(READ(has_new_code))) {
		WRITE(has_new_code, false);
		note_new_code(false);
	}
	number = numbered(&scratch->walk);
	WRITE_RELEASE(scratch->user, 0);
	return number;
}
