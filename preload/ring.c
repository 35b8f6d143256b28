/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many write, one reads, nobody holds a lock: who is killed, or interrupted by
 * a signal, holds up nobody who writes.
 *
 * A record is taken by its header, in one step, from "free" to its length with
 * the mark "busy" and the process. Only then does the position move, and
 * whoever sees a header at the position may move it. So at each moment every
 * byte before the position belongs to a record with a length, and the reader
 * can skip one whose process is gone.
 *
 * What "free" is differs from lap to lap, so that a thread that slept for a
 * lap does not take what is free by now: the lap with the mark "busy", and a
 * process that there is none of. Nor does it take part of a record, which has
 * no such words. The recorder fills the ring with it at first, and again what
 * it gives back.
 */
#include "ring.h"

#define FREE_PROCESS 0xffffffffULL
#define FREE_LAP_MASK (RECORD_DISCARDED - 1)
#define SPINS 200
/* The recorder makes room in pieces that take it longer. */
#define NAP_NS 50000
/* So far ahead lines of the cache are asked for, which the reader had last. */
#define AHEAD_BYTES 512

uint64_t stopped_clock_ns;

static uint64_t free_word(const struct ring *ring, uint64_t position)
{
	uint64_t lap = position / ring->size_bytes;

	return FREE_PROCESS << 32 | RECORD_BUSY | (lap & FREE_LAP_MASK);
}

static uint64_t record_bytes(uint32_t length)
{
	length &= ~(RECORD_BUSY | RECORD_DISCARDED);
	return ((uint64_t)length + RECORD_HEADER_BYTES + 7) & ~7ULL;
}

static uint64_t *header_at(const struct ring *ring, uint64_t position)
{
	return (void *)(ring->records + (position & (ring->size_bytes - 1)));
}

/*
 * Take what begins at `position` with `length`. Whoever took it, the position
 * is moved behind it.
 */
static bool take(struct ring *ring, uint64_t position, uint32_t length)
{
	uint64_t *header = header_at(ring, position);
	uint64_t free = free_word(ring, position);
	uint64_t found = READ_ACQUIRE(*header), end;
	bool is_ours =
		found == free &&
		swap_if(header, &found, length | (uint64_t)ring->pid << 32);

	end = position + record_bytes(is_ours ? length : (uint32_t)found);
	if (is_ours || found != free)
		swap_if(&ring->writer->producer_pos, &position, end);
	return is_ours;
}

static bool is_stalled(struct ring *ring, uint64_t consumer_pos)
{
	return READ(ring->writer->stalled_at) == consumer_pos + 1;
}

/*
 * Wait until the reader has read more than up to `seen`. One that does not for
 * too long is not waited for by anybody until it reads again.
 */
static bool wait_for_reader(struct ring *ring, uint64_t seen)
{
	struct timespec nap = {.tv_nsec = NAP_NS};
	uint64_t deadline = 0;

	ADD(ring->writer->n_waits, 1);
	while (READ_ACQUIRE(ring->reader->consumer_pos) == seen) {
		if (!READ(ring->reader->is_recording) || is_stalled(ring, seen))
			return false;
		for (int i = 0; i < SPINS; i++)
			pause_briefly();
		if (!ring->is_sandboxed)
			SYSTEM_CALL(NR_NANOSLEEP, &nap, NULL);
		if (deadline == 0)
			deadline = now_ns(CLOCK_MONOTONIC) +
				   READ(ring->reader->wait_ns);
		else if (now_ns(CLOCK_MONOTONIC) > deadline)
			WRITE(ring->writer->stalled_at, seen + 1);
	}
	return true;
}

void *ring_reserve(struct ring *ring, uint32_t size)
{
	uint64_t wanted = record_bytes(size);

	for (;;) {
		uint64_t position = READ_ACQUIRE(ring->writer->producer_pos);
		uint64_t seen = READ_ACQUIRE(ring->reader->consumer_pos);
		uint64_t rest =
			ring->size_bytes - (position & (ring->size_bytes - 1));
		bool fits = wanted <= rest;
		uint64_t needed = fits ? wanted : rest;

		if (position - seen > ring->size_bytes - needed) {
			/* It may have moved between the two looks. */
			if (position - seen <= ring->size_bytes &&
			    !wait_for_reader(ring, seen))
				return NULL;
			continue;
		}
		if (!fits)
			take(ring, position,
			     RECORD_DISCARDED |
				     (uint32_t)(rest - RECORD_HEADER_BYTES));
		else if (take(ring, position, RECORD_BUSY | size)) {
			__builtin_prefetch(
				header_at(ring, position + AHEAD_BYTES), 1);
			return header_at(ring, position) + 1;
		}
	}
}

void ring_submit(void *record)
{
	uint64_t *header = (uint64_t *)record - 1;

	WRITE_RELEASE(*header, READ(*header) & ~(uint64_t)RECORD_BUSY);
}

void ring_lose(struct ring *ring)
{
	ADD(ring->writer->lost_events, 1);
}
