/* Writing into the library's ring, for a program with a C library's headers. */
#ifndef RING_WRITER_H
#define RING_WRITER_H

#include <stddef.h>
#include <stdint.h>

/* Use the ring that is mapped at `all`. */
void writer_open(void *all, size_t page_bytes);

/* Write as process `pid`. */
void writer_is_process(uint32_t pid);

/* Write one record. */
void writer_write(uint64_t place, uint64_t thread, uint64_t number);

/* Begin a record of so many bytes. */
void writer_begin(long size);

/*
 * Read what is there as the recorder does, and return how many records that
 * were; ends the program if one is not what was written.
 */
long writer_read(void);

#endif
