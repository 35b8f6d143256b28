/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer, as those that write see it. */
#ifndef PRELOAD_RING_H
#define PRELOAD_RING_H

#include "layout.h"

struct ring {
	struct reader_page *reader;
	struct writer_page *writer;
	uint8_t *records;
	uint64_t size_bytes;
	uint32_t pid;	   /* of this process; marks its unfinished records */
	bool is_sandboxed; /* system calls may be fatal */
};

/*
 * Room for a record of `size` bytes; NULL where there is none, and nobody has
 * made any for as long as the recorder allows to wait.
 */
void *ring_reserve(struct ring *ring, uint32_t size);

/* Hand a record over that is written. */
void ring_submit(void *record);

/* Say that what was to be sent is lost. */
void ring_lose(struct ring *ring);

#endif /* PRELOAD_RING_H */
