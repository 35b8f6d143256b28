/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process finds the recorder, by the file that its environment names,
 * and stays what it says it is: after fork(), and after a fork of which nobody
 * is told. Once connected nothing here depends on open files, or on where the
 * program may go.
 */
#include "cfi.h"
#include "process.h"
#include "real.h"
#include "stacks.h"

#define VARIABLE "GADGETOPS_PRELOAD="
#define PAGE_BYTES 4096
#define MAX_PAGE_BYTES 65536
#define COMM_BYTES 16

enum { NOT_CONNECTED, CONNECTING, DECIDED };

__thread struct thread this_thread;
struct ring ring;
uint32_t *is_same_process;
bool is_connected;
static uint32_t state;
static uint64_t forked_at;
/* Equal stacks are equal ones of our parent. */
static bool has_code_of_parent;

void send_note(enum note_kind kind, struct note note, const char *name,
	       size_t name_bytes)
{
	uint32_t size = (uint32_t)((sizeof(note) + name_bytes + 7) & ~7UL);
	struct note *sent;

	/* A reader tells records apart by their size. */
	if (size == sizeof(struct stack_path) || size == sizeof(struct event))
		size += 8;
	sent = ring_reserve(&ring, size);
	if (!sent)
		return;
	note.kind = kind;
	if (note.pid == 0)
		note.pid = this_thread.pid;
	if (note.timestamp == 0)
		note.timestamp = now_ns(CLOCK_BOOTTIME);
	note.name_bytes = (uint32_t)name_bytes;
	*sent = note;
	memcpy(sent + 1, name, name_bytes);
	ring_submit(sent);
}

NOINLINE void identify_thread(void)
{
	this_thread.pid = ring.pid;
	this_thread.tid = (uint32_t)SYSTEM_CALL(NR_GETTID);
}

/* The variable of our environment, without its name; NULL if there is none. */
static const char *recorder_file(void)
{
	size_t size = sizeof(VARIABLE) - 1;

	for (char **each = __environ; each && *each; each++) {
		if (strlen(*each) > size && !memcmp(*each, VARIABLE, size))
			return *each + size;
	}
	return NULL;
}

static uint8_t *map_shared(int file, uint64_t size)
{
	long found = SYSTEM_CALL(NR_MMAP, 0, size, PROT_READ | PROT_WRITE,
				 MAP_SHARED, file, 0);

	return is_error(found) ? NULL : (uint8_t *)found;
}

/* Map all that the file says it has. The page's size is the recorder's. */
static bool map_ring(int file)
{
	struct reader_page *page = (void *)map_shared(file, MAX_PAGE_BYTES);
	uint64_t ring_bytes, page_bytes = getauxval(AT_PAGESZ);
	uint8_t *all;

	if (!page)
		return false;
	ring_bytes = page->ring_bytes;
	if (page->magic != SHARED_MAGIC || page->version != SHARED_VERSION) {
		SYSTEM_CALL(NR_MUNMAP, page, MAX_PAGE_BYTES);
		return false;
	}
	SYSTEM_CALL(NR_MUNMAP, page, MAX_PAGE_BYTES);
	all = map_shared(file, 2 * page_bytes + ring_bytes);
	if (!all)
		return false;
	ring.size_bytes = ring_bytes;
	ring.records = all + 2 * page_bytes;
	ring.writer = (void *)(all + page_bytes);
	WRITE_RELEASE(ring.reader, (struct reader_page *)all);
	return true;
}

static bool open_ring(void)
{
	const char *path = recorder_file();
	long file;
	bool is_mapped;

	if (!path)
		return false;
	file = SYSTEM_CALL(NR_OPENAT, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (is_error(file))
		return false;
	is_mapped = map_ring((int)file);
	SYSTEM_CALL(NR_CLOSE, file);
	return is_mapped;
}

static void note_process(void)
{
	ring.pid = (uint32_t)SYSTEM_CALL(NR_GETPID);
	if (is_same_process)
		WRITE(*is_same_process, 1);
	identify_thread();
}

static void send_fork(uint32_t parent, uint64_t timestamp)
{
	struct note note = {.other = parent, .timestamp = timestamp};

	if (is_recording())
		send_note(NOTE_FORK, note, "", 0);
}

void follow_fork(void)
{
	uint32_t parent = ring.pid;

	note_process();
	if (ring.pid == parent)
		return;
	stacks_free_scratches();
	free_report();
	has_code_of_parent = true;
	send_fork(parent, forked_at);
	forked_at = 0;
}

static void before_fork(void)
{
	WRITE(forked_at, now_ns(CLOCK_BOOTTIME));
}

static void after_fork(void)
{
	WRITE(forked_at, 0);
}

static void follow_forks(void)
{
	is_same_process = new_pages(PAGE_BYTES);
	if (is_same_process &&
	    is_error(SYSTEM_CALL(NR_MADVISE, is_same_process, PAGE_BYTES,
				 MADV_WIPEONFORK)))
		is_same_process = NULL;
	if (is_same_process)
		WRITE(*is_same_process, 1);
	/* What they allocate is ours, as part of a call that never was. */
	this_thread.owner_sp = UINTPTR_MAX;
	if (__register_atfork)
		__register_atfork(before_fork, after_fork, follow_fork, &ring);
	else if (pthread_atfork)
		pthread_atfork(before_fork, after_fork, follow_fork);
	this_thread.owner_sp = 0;
}

static uint64_t random_seed(void)
{
	const uint64_t *random = (const void *)getauxval(AT_RANDOM);
	uint64_t seed = mixed(now_ns(CLOCK_BOOTTIME), ring.pid);

	return random ? mixed(mixed(seed, random[0]), random[1]) : seed;
}

static void send_start(void)
{
	struct note note = {.other = (uint32_t)SYSTEM_CALL(NR_GETPPID)};
	char comm[COMM_BYTES + 1] = "";

	SYSTEM_CALL(NR_PRCTL, PR_GET_NAME, comm, 0, 0, 0);
	send_note(NOTE_START, note, comm, strlen(comm));
}

static void report_own_allocator(void)
{
	static const char reason[] = "it brings its own malloc()";
	struct note note = {0};

	if (real_is_preceded("malloc"))
		send_note(NOTE_UNSEEN, note, reason, sizeof(reason) - 1);
}

/* What allocates before this could be done goes unseen; few programs do. */
static void connect(void)
{
	uint32_t before = NOT_CONNECTED;

	if (!__environ ||
	    !__atomic_compare_exchange_n(&state, &before, CONNECTING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	if (!open_ring()) {
		WRITE_RELEASE(state, DECIDED);
		return;
	}
	note_process();
	walk_prepare();
	if (!stacks_prepare(random_seed())) {
		ring.reader = NULL;
		WRITE_RELEASE(state, DECIDED);
		return;
	}
	send_start();
	report_own_allocator();
	report_mappings();
	cfi_note_objects();
	WRITE_RELEASE(is_connected, true);
	WRITE_RELEASE(state, DECIDED);
}

bool connect_and_ask(void)
{
	if (READ_ACQUIRE(state) == NOT_CONNECTED)
		connect();
	return READ_ACQUIRE(is_connected) && is_recording();
}

void note_new_code(bool is_gone)
{
	if (!is_recorded() || ring.is_sandboxed)
		return;
	walk_forget_rules();
	cfi_note_objects();
	if (is_gone || has_code_of_parent)
		stacks_begin_anew(ring.pid);
	has_code_of_parent = false;
	report_mappings();
}

/* Not while the first calls come, which may be the dynamic linker's own. */
__attribute__((constructor)) static void begin(void)
{
	is_recorded();
	if (ring.reader)
		follow_forks();
}
