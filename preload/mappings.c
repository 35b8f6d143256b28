/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file lies where: sent by who has it mapped, who may be gone before
 * anybody else can look.
 */
#include "process.h"

#define TEXT_BYTES 8192
#define MAX_REPORTED 1024

struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool is_code;
	const char *path;
	size_t path_bytes;
};

/* What was reported, by start and end; the oldest goes when there are more. */
static struct {
	uint64_t start;
	uint64_t end;
} reported[MAX_REPORTED];
static uint32_t n_reported;
static uint64_t reporting;

static bool was_reported(const struct mapping *mapping)
{
	uint32_t count = n_reported < MAX_REPORTED ? n_reported : MAX_REPORTED;

	for (uint32_t i = 0; i < count; i++) {
		if (reported[i].start == mapping->start &&
		    reported[i].end == mapping->end)
			return true;
	}
	return false;
}

static void report(const struct mapping *mapping)
{
	struct note note = {
		.start = mapping->start,
		.end = mapping->end,
		.offset = mapping->offset,
	};

	if (!mapping->is_code || was_reported(mapping))
		return;
	reported[n_reported % MAX_REPORTED].start = mapping->start;
	reported[n_reported++ % MAX_REPORTED].end = mapping->end;
	send_note(NOTE_MAPPING, note, mapping->path, mapping->path_bytes);
}

static uint64_t read_hex(const char **text)
{
	uint64_t value = 0;

	for (;; (*text)++) {
		char digit = **text;

		if (digit >= '0' && digit <= '9')
			value = value << 4 | (uint64_t)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			value = value << 4 | (uint64_t)(digit - 'a' + 10);
		else
			return value;
	}
}

static void skip_word(const char **text)
{
	while (**text != ' ' && **text != '\n')
		(*text)++;
	while (**text == ' ')
		(*text)++;
}

/* A line: "start-end rwxp offset device inode   path"; proc_pid_maps(5). */
static struct mapping read_line(const char *line, const char *end)
{
	struct mapping mapping;

	mapping.start = read_hex(&line);
	line++;
	mapping.end = read_hex(&line);
	mapping.is_code = line[3] == 'x';
	line++;
	skip_word(&line);
	mapping.offset = read_hex(&line);
	skip_word(&line);
	skip_word(&line);
	skip_word(&line);
	mapping.path = line;
	mapping.path_bytes = (size_t)(end - line);
	return mapping;
}

/* Report all lines that are whole, and return how much of the text they are. */
static size_t report_lines(const char *text, size_t size)
{
	size_t begin = 0;

	for (size_t i = 0; i < size; i++) {
		struct mapping mapping;

		if (text[i] != '\n')
			continue;
		mapping = read_line(text + begin, text + i);
		report(&mapping);
		begin = i + 1;
	}
	return begin;
}

static void report_file(int file, char *text)
{
	size_t kept = 0;

	for (;;) {
		long size = SYSTEM_CALL(NR_READ, file, text + kept,
					TEXT_BYTES - kept);
		size_t used;

		if (is_error(size) || size == 0)
			return;
		used = report_lines(text, kept + (size_t)size);
		kept += (size_t)size - used;
		if (kept == TEXT_BYTES)
			kept = 0; /* longer than any line is */
		/* Not memmove(), which may be anybody's. */
		for (size_t i = 0; i < kept; i++)
			text[i] = text[used + i];
	}
}

bool is_reported(uintptr_t address)
{
	uint32_t count = n_reported < MAX_REPORTED ? n_reported : MAX_REPORTED;

	for (uint32_t i = 0; i < count; i++) {
		if (address >= reported[i].start && address < reported[i].end)
			return true;
	}
	return false;
}

void free_report(void)
{
	WRITE(reporting, 0);
}

void report_mappings(void)
{
	uint64_t nobody = 0;
	long file;
	char *text;

	/* Another thread's report, or an interrupted one: what is new comes. */
	if (!swap_if(&reporting, &nobody, 1))
		return;
	file = SYSTEM_CALL(NR_OPENAT, AT_FDCWD, "/proc/self/maps",
			   O_RDONLY | O_CLOEXEC, 0);
	text = new_pages(TEXT_BYTES);
	if (!is_error(file) && text)
		report_file((int)file, text);
	if (text)
		SYSTEM_CALL(NR_MUNMAP, text, TEXT_BYTES);
	if (!is_error(file))
		SYSTEM_CALL(NR_CLOSE, file);
	WRITE_RELEASE(reporting, 0);
}
