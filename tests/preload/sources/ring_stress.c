/*
 * Many threads, of several processes, write numbered records into one ring.
 *
 *   ring_stress FILE PROCESSES THREADS RECORDS [kill]
 *
 * A record's content: process by its place, thread, number, then so many words
 * of the number as the number modulo 8 says. Some are written by a signal
 * handler that interrupts the others. With `kill`, every other process is
 * killed while it writes. With `abandon`, a record of RECORDS bytes is begun
 * and nothing else is done. With `alone`, one process reads what it writes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_writer.h"

#define HANDLER_THREAD 1000

static uint64_t place;
static uint64_t n_handled;
static long n_records;

static void write_record(uint64_t thread, uint64_t number)
{
	writer_write(place, thread, number);
}

static void on_alarm(int number)
{
	(void)number;
	write_record(HANDLER_THREAD,
		     __atomic_fetch_add(&n_handled, 1, __ATOMIC_RELAXED));
}

static void *write_all(void *argument)
{
	for (long i = 0; i < n_records; i++)
		write_record((uint64_t)argument, (uint64_t)i);
	return NULL;
}

static int is_done;

static void *read_all(void *unused)
{
	long n_read = 0;
	bool is_last;

	do {
		is_last = __atomic_load_n(&is_done, __ATOMIC_ACQUIRE);
		n_read += writer_read();
		usleep(100);
	} while (!is_last);
	printf("read %ld\n", n_read);
	return unused;
}

/* Write and read in one process, so that a sanitizer sees both. */
static void run_alone(long n_threads)
{
	pthread_t threads[64], reader;

	writer_is_process((uint32_t)getpid());
	pthread_create(&reader, NULL, read_all, NULL);
	for (long i = 0; i < n_threads; i++)
		pthread_create(&threads[i], NULL, write_all, (void *)i);
	for (long i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	__atomic_store_n(&is_done, 1, __ATOMIC_RELEASE);
	pthread_join(reader, NULL);
}

static void run(long n_threads)
{
	pthread_t threads[64];
	struct sigaction action = {.sa_handler = on_alarm,
				   .sa_flags = SA_RESTART};
	struct itimerval timer = {{0, 500}, {0, 500}};

	writer_is_process((uint32_t)getpid());
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &timer, NULL);
	for (long i = 0; i < n_threads; i++)
		pthread_create(&threads[i], NULL, write_all, (void *)i);
	for (long i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	memset(&timer, 0, sizeof(timer));
	setitimer(ITIMER_PROF, &timer, NULL);
	printf("%lu %lu\n", place, n_handled);
	fflush(stdout);
}

int main(int count, char **arguments)
{
	int file = open(arguments[1], O_RDWR);
	long n_processes = atol(arguments[2]), n_threads = atol(arguments[3]);
	bool is_killing = count > 5 && !strcmp(arguments[5], "kill");
	pid_t children[64];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	off_t size = lseek(file, 0, SEEK_END);

	n_records = atol(arguments[4]);
	writer_open(mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 file, 0),
		    page);
	if (count > 5 && !strcmp(arguments[5], "abandon")) {
		writer_is_process((uint32_t)getpid());
		writer_begin(n_records);
		_exit(0);
	}
	if (count > 5 && !strcmp(arguments[5], "alone")) {
		run_alone(n_threads);
		return 0;
	}
	for (long i = 0; i < n_processes; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			place = (uint64_t)i;
			run(n_threads);
			return 0;
		}
	}
	for (long i = 0; is_killing && i < n_processes; i += 2) {
		usleep(20000);
		kill(children[i], SIGKILL);
	}
	for (long i = 0; i < n_processes; i++)
		waitpid(children[i], NULL, 0);
	return 0;
}
