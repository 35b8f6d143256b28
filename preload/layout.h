/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library and the recorder share: a file that both map.
 *
 *   page 0   struct reader_page: what the recorder writes
 *   page 1   struct writer_page: what the library writes
 *   page 2…  records, each a header of 8 bytes and what follows it
 *
 * That is how the kernel lays a BPF ring buffer out. One thing differs: no
 * record wraps around at the end. One that is to be skipped fills the rest.
 *
 * operator/gadgetops/trace/preload/shared_ring.py says the same in Python.
 */
#ifndef PRELOAD_LAYOUT_H
#define PRELOAD_LAYOUT_H

#include "base.h"

#define MEMOP(name) OPERATION_##name
#include "../gadget/memop.h"

#define SHARED_MAGIC 0x4c50474f /* "OGPL" */
#define SHARED_VERSION 1
#define PATH_BYTES 1024

/* In a record's length, as in the kernel: it is written; it is skipped. */
#define RECORD_BUSY (1U << 31)
#define RECORD_DISCARDED (1U << 30)
#define RECORD_HEADER_BYTES 8

struct reader_page {
	uint64_t consumer_pos;
	uint64_t unused[7];
	uint32_t magic;
	uint32_t version;
	uint64_t ring_bytes;   /* a power of two */
	uint32_t is_recording; /* nothing is sent, and nobody waits, if not */
	uint32_t collect_stacks;
	uint32_t sample_every; /* see the gadget's parameters of that name */
	uint32_t only_pid;     /* 0: all */
	uint64_t min_size;
	uint64_t sample_bytes; /* mean distance of samples; 0: all is sent */
	uint64_t wait_ns; /* longest wait for a reader that does not read */
	char ring_path[PATH_BYTES];
	char library_path[PATH_BYTES];
};

struct writer_page {
	uint64_t producer_pos;
	uint64_t unused[7];
	uint64_t lost_events;
	uint64_t lost_stacks; /* that could not be sent */
	uint64_t n_waits;     /* for the reader */
	uint64_t unused_too[5];
	uint64_t stalled_at; /* consumer_pos + 1 that nobody waits for */
};

/* The columns that the gadget's `struct event` has, in 64 bytes with header. */
struct event {
	uint64_t timestamp_raw; /* boot time */
	uint32_t pid;
	uint32_t tid;
	uint32_t operation_raw; /* enum memop */
	uint32_t samples; /* in how many this one counts; 0: not sampled */
	uint64_t addr;
	uint64_t size;
	uint64_t lost;
	uint64_t slice; /* number of the stack; 0: none, 1: it was missed */
};

#define SLICE_MISSED 1
#define PATH_RECORD_FRAMES 64

/* As the gadget's: some addresses of a stack, leaf first. */
struct stack_path {
	uint64_t slice;
	uint64_t timestamp;
	uint32_t pid;
	uint32_t tid;
	uint32_t first;
	uint32_t total;
	uint64_t addresses[PATH_RECORD_FRAMES];
};

enum note_kind {
	NOTE_START = 1,	      /* a program begins; name: the thread's */
	NOTE_FORK = 2,	      /* a process was forked */
	NOTE_MAPPING = 3,     /* code is mapped; name: the path */
	NOTE_EXEC = 4,	      /* a program is to be executed; name: its path */
	NOTE_EXEC_FAILED = 5, /* it was not */
	NOTE_UNSEEN = 6,      /* allocates past us; name: why */
	NOTE_CHANGED = 7, /* code at known addresses may be other code now */
};

/* What befell a process. The name follows, without an end. */
struct note {
	uint64_t timestamp;
	uint32_t kind;
	uint32_t pid;
	uint32_t other; /* the parent; of an exec: a parent says so */
	uint32_t name_bytes;
	uint64_t start;
	uint64_t end;
	uint64_t offset;
};

#endif /* PRELOAD_LAYOUT_H */
