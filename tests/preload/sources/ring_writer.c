/* See ring_writer.h. */
#include "ring.h"
#include "ring_writer.h"

static struct ring ring;

void writer_open(void *all, size_t page_bytes)
{
	ring = (struct ring){
		.reader = all,
		.writer = (void *)((uint8_t *)all + page_bytes),
		.records = (uint8_t *)all + 2 * page_bytes,
		.size_bytes = ((struct reader_page *)all)->ring_bytes,
	};
}

void writer_is_process(uint32_t pid)
{
	ring.pid = pid;
}

void writer_write(uint64_t place, uint64_t thread, uint64_t number)
{
	uint32_t n_words = 3 + number % 8;
	uint64_t *record = ring_reserve(&ring, n_words * 8);

	if (!record) {
		ring_lose(&ring);
		return;
	}
	record[0] = place;
	record[1] = thread;
	record[2] = number;
	for (uint32_t i = 3; i < n_words; i++)
		record[i] = number;
	ring_submit(record);
}

void writer_begin(long size)
{
	ring_reserve(&ring, (uint32_t)size);
}

static void check(const uint64_t *record, uint32_t length)
{
	for (uint32_t i = 3; i < length / 8; i++) {
		if (record[i] != record[2])
			__builtin_trap();
	}
}

long writer_read(void)
{
	uint64_t position = ring.reader->consumer_pos;
	uint64_t end = READ_ACQUIRE(ring.writer->producer_pos);
	long n_records = 0;

	while (position < end) {
		uint64_t *words =
			(void *)(ring.records + position % ring.size_bytes);
		uint32_t header = (uint32_t)READ_ACQUIRE(*words);
		uint32_t length = header & ~(RECORD_BUSY | RECORD_DISCARDED);
		uint64_t lap = position / ring.size_bytes + 1;

		if (header & RECORD_BUSY)
			break;
		if (!(header & RECORD_DISCARDED)) {
			check(words + 1, length);
			n_records++;
		}
		for (uint32_t i = 0; i < (length + 15) / 8; i++)
			WRITE(words[i],
			      0xffffffffULL << 32 | RECORD_BUSY | lap);
		position += (length + 15) / 8 * 8;
		WRITE_RELEASE(ring.reader->consumer_pos, position);
	}
	return n_records;
}
