/*
 * Calls malloc from code that it writes itself, and says what the code is
 *called:
 *
 *	jitted map|dump pointer|none [fork|hostile]
 *
 * in /tmp/perf-PID.map or in ./jit-PID.dump with times and lines. With a frame
 *pointer or without one. Each function makes five allocations of a size of its
 *own: 7001 by `jit_first`, 7002 by `jit_second`, which takes the place of the
 *first, 7003 by `jit_third` beside it, 7004 by `jit_third` in a child. A map is
 *removed at the end. Hostile: the first one's name holds what a terminal obeys.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef void *(*function)(size_t);

static char file[64];
static int descriptor, is_dump, reads;

struct header {
	uint32_t magic, version, size, machine, padding, pid;
	uint64_t timestamp, flags;
};

struct load {
	uint32_t id, size;
	uint64_t timestamp;
	uint32_t pid, tid;
	uint64_t vma, address, code_size, number;
};

struct lines {
	uint32_t id, size;
	uint64_t timestamp, address, count, at;
	uint32_t line, discriminator;
	char path[8];
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void put(const void *bytes, size_t size)
{
	if (write(descriptor, bytes, size) != (ssize_t)size)
		exit(3);
}

/*
 * A map has no times: when it is written stands for them, if whoever follows
 * the program has read it between two writes. Waits until it has, and for as
 * long as the times of files may be off.
 */
static void wait_until_read(void)
{
	char events[4096];
	struct pollfd waiting = {.fd = reads, .events = POLLIN};

	if (is_dump)
		return;
	if (poll(&waiting, 1, 60000) != 1 ||
	    read(reads, events, sizeof events) < 0)
		exit(4);
	usleep(50000);
}

static void begin(void)
{
	struct header header = {0x4A695444, 1,	      sizeof header, 62,
				0,	    getpid(), now(),	     0};

	snprintf(file, sizeof file,
		 is_dump ? "jit-%d.dump" : "/tmp/perf-%d.map", getpid());
	descriptor = open(file, O_CREAT | O_TRUNC | O_RDWR, 0644);
	if (!is_dump) {
		reads = inotify_init();
		inotify_add_watch(reads, file, IN_ACCESS);
		return;
	}
	put(&header, sizeof header);
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor,
		 0) == MAP_FAILED)
		exit(3);
}

static void name(const char *as, const uint8_t *code, size_t size,
		 uint32_t line)
{
	static uint64_t number;
	struct lines lines = {2,	sizeof lines,	 now(), (uintptr_t)code,
			      1,	(uintptr_t)code, line,	0,
			      "shop.js"};
	struct load load = {0,
			    sizeof load + strlen(as) + 1 + size,
			    now(),
			    getpid(),
			    getpid(),
			    (uintptr_t)code,
			    (uintptr_t)code,
			    size,
			    number++};
	char text[128];

	if (!is_dump) {
		put(text, snprintf(text, sizeof text, "%lx %zx %s\n",
				   (long)code, size, as));
		return;
	}
	put(&lines, sizeof lines);
	put(&load, sizeof load);
	put(as, strlen(as) + 1);
	put(code, size);
}

static function compiled(uint8_t *code, const char *as, int has_pointer,
			 uint32_t line)
{
	/* push %rbp; mov %rsp,%rbp; movabs $malloc,%rax; call *%rax; pop %rbp;
	 * ret */
	static const uint8_t with[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8,
				       0,    0,	   0,	 0,    0,    0,
				       0,    0,	   0xff, 0xd0, 0x5d, 0xc3};
	/* sub $8,%rsp; movabs $malloc,%rax; call *%rax; add $8,%rsp; ret */
	static const uint8_t without[] = {
		0x48, 0x83, 0xec, 8,	0x48, 0xb8, 0,	  0,	0, 0,	0,
		0,    0,    0,	  0xff, 0xd0, 0x48, 0x83, 0xc4, 8, 0xc3};
	void *target = malloc;
	size_t size = has_pointer ? sizeof with : sizeof without;

	memcpy(code, has_pointer ? with : without, size);
	memcpy(code + 6, &target, sizeof target);
	name(as, code, size, line);
	return (function)code;
}

__attribute__((noinline)) static void call(function called, size_t size)
{
	for (int n = 0; n < 5; n++) {
		void *volatile kept = called(size);

		(void)kept;
	}
}

static int is(int argc, char **argv, const char *option)
{
	return argc > 3 && strcmp(argv[3], option) == 0;
}

int main(int argc, char **argv)
{
	const char *names[] = {is(argc, argv, "hostile") ? "jit_\033[31mfirst"
							 : "jit_first",
			       "jit_second"};
	function third;
	int has_pointer = argc > 2 && strcmp(argv[2], "pointer") == 0;
	uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	is_dump = argc > 1 && strcmp(argv[1], "dump") == 0;
	begin();
	/* From one place: the stacks differ in nothing but what the code is
	 * called. */
	for (int n = 0; n < 2; n++) {
		call(compiled(code, names[n], has_pointer, 11 * (n + 1)),
		     7001 + n);
		wait_until_read();
	}
	third = compiled(code + 64, "jit_third", has_pointer, 33);
	call(third, 7003);
	if (is(argc, argv, "fork") && fork() == 0) {
		call(third, 7004);
		_exit(0);
	}
	wait_until_read();
	if (!is_dump)
		unlink(file);
	return 0;
}
