/* SPDX-License-Identifier: Apache-2.0 */
/* This process: its connection to the recorder, and what is sent over it. */
#ifndef PRELOAD_PROCESS_H
#define PRELOAD_PROCESS_H

#include "ring.h"
#include "walk.h"

/* What each thread has. Nothing here needs to be set up, or taken down. */
struct thread {
	uint32_t pid; /* of the process when `tid` was asked for */
	uint32_t tid;
	uintptr_t owner_sp;   /* of the call that others are part of; 0: none */
	bool is_release;      /* that call gives memory back */
	int64_t until_sample; /* bytes; 0: not drawn yet */
	uint64_t random;
	struct readable readable;
};

extern __thread struct thread this_thread
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Zero in a child that was forked, by the kernel's doing. */
extern uint32_t *is_same_process;

extern struct ring ring;

/* Whether this process is connected, and ready to send. */
extern bool is_connected;

ALWAYS_INLINE bool is_recording(void)
{
	return ring.reader && READ(ring.reader->is_recording);
}

/* As below, for the first time. */
bool connect_and_ask(void);

/* Whether anybody wants to know. The first call connects. */
ALWAYS_INLINE bool is_recorded(void)
{
	if (LIKELY(READ_ACQUIRE(is_connected)))
		return READ(ring.reader->is_recording);
	return connect_and_ask();
}

/* After a fork that nobody told us of. */
void follow_fork(void);

/* Make `this_thread` know whose it is. */
NOINLINE void identify_thread(void);

/* Send `kind` with a name of `name_bytes`. */
void send_note(enum note_kind kind, struct note note, const char *name,
	       size_t name_bytes);

/* Report code that is mapped and was not reported yet. */
void report_mappings(void);

/* Whether the recorder knows what file holds the code at `address`. */
bool is_reported(uintptr_t address);

/* Nobody else is reporting, after a fork. */
void free_report(void);

/* Say that a library came, or, what `is_gone` says, went. */
void note_new_code(bool is_gone);

#endif /* PRELOAD_PROCESS_H */
