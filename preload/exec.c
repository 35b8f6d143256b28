/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program executes is recorded, too, in whatever environment: our
 * variables are added to it where they are missing, beside the program's own.
 *
 * All of it may run in a child of vfork(), or of fork() in a program with
 * threads: nothing is allocated, no lock is taken.
 */
#include <stdarg.h>

#include "process.h"
#include "program.h"
#include "real.h"

#define PRELOAD_VARIABLE "LD_PRELOAD="
#define RING_VARIABLE "GADGETOPS_PRELOAD="
#define MAX_ADDED 2

typedef char *const *list;

/* An environment under construction, on the stack of who executes. */
struct environment {
	char **words;
	size_t n_words;
	char *text;
};

static size_t length_of(list words)
{
	size_t length = 0;

	while (words && words[length])
		length++;
	return length;
}

static bool begins_with(const char *word, const char *name)
{
	while (*name && *word == *name) {
		word++;
		name++;
	}
	return *name == '\0';
}

/* Whether `library` is one of those that `names` has, between colons. */
static bool has_library(const char *names, const char *library)
{
	size_t length = strlen(library);

	for (; *names; names++) {
		if (begins_with(names, library) &&
		    (names[length] == '\0' || names[length] == ':' ||
		     names[length] == ' '))
			return true;
	}
	return false;
}

static void append(char **end, const char *text)
{
	while (*text)
		*(*end)++ = *text++;
	**end = '\0';
}

static const char *value_of(list env, const char *name)
{
	for (size_t i = 0; env && env[i]; i++) {
		if (begins_with(env[i], name))
			return env[i] + strlen(name);
	}
	return NULL;
}

static bool is_complete(list env)
{
	const char *libraries = value_of(env, PRELOAD_VARIABLE);

	return !ring.reader || !READ(ring.reader->is_recording) ||
	       (libraries && value_of(env, RING_VARIABLE) &&
		has_library(libraries, ring.reader->library_path));
}

/* Whether the program is to run as if nothing were preloaded. */
static bool is_left_alone(const char *file, const char *path)
{
	return ring.reader && !ring.is_sandboxed &&
	       program_needs_sanitizer(file, path);
}

/* How much text the variables take that are added. */
static size_t text_bytes(list env)
{
	const char *libraries = value_of(env, PRELOAD_VARIABLE);

	return 2 * PATH_BYTES + 64 + (libraries ? strlen(libraries) : 0);
}

/* Put into `to` what `env` has besides our variables. */
static void copy_others(struct environment *to, list env)
{
	for (size_t i = 0; env && env[i]; i++) {
		if (!begins_with(env[i], PRELOAD_VARIABLE) &&
		    !begins_with(env[i], RING_VARIABLE))
			to->words[to->n_words++] = env[i];
	}
	to->words[to->n_words] = NULL;
}

/* Put into `to` what `env` is to be: our library before those of others. */
static void complete(struct environment *to, list env)
{
	const char *libraries = value_of(env, PRELOAD_VARIABLE);
	char *end = to->text;

	copy_others(to, env);
	to->words[to->n_words++] = end;
	append(&end, PRELOAD_VARIABLE);
	append(&end, ring.reader->library_path);
	if (libraries && *libraries &&
	    !has_library(libraries, ring.reader->library_path)) {
		append(&end, ":");
		append(&end, libraries);
	}
	to->words[to->n_words++] = ++end;
	append(&end, RING_VARIABLE);
	append(&end, ring.reader->ring_path);
	to->words[to->n_words] = NULL;
}

/*
 * Say what `child` executes, or, if that is 0, the process itself, which need
 * not be the one whose memory this is.
 */
static void say(enum note_kind kind, const char *path, int child)
{
	struct note note = {.pid = (uint32_t)child, .other = child != 0};

	if (!is_recorded() || ring.is_sandboxed)
		return;
	if (child == 0)
		note.pid = (uint32_t)SYSTEM_CALL(NR_GETPID);
	send_note(kind, note, path, strlen(path));
}

/*
 * Carry `call` out, an expression with `completed`, which is `env` with our
 * variables, or without any for a program that does not run with them; on this
 * function's stack.
 */
#define WITH_COMPLETED(file, path, env, call)                               \
	({                                                                  \
		bool is_alone = is_left_alone(file, path);                  \
		bool is_done = !is_alone && is_complete(env);               \
		char *made_words[is_done ? 1                                \
					 : length_of(env) + MAX_ADDED + 1]; \
		char made_text[is_done ? 1 : text_bytes(env)];              \
		struct environment made = {made_words, 0, made_text};       \
		list completed = is_done ? (list)env : made_words;          \
                                                                            \
		if (is_alone)                                               \
			copy_others(&made, env);                            \
		else if (!is_done)                                          \
			complete(&made, env);                               \
		call;                                                       \
	})

/* Where a name without a slash is looked up: as the caller has it. */
static const char *search_path(void)
{
	const char *path = value_of(__environ, "PATH=");

	return path ? path : "/bin:/usr/bin";
}

EXPORTED int execve(const char *path, list words, list env)
{
	int result;

	FIND_REAL();
	say(NOTE_EXEC, path, 0);
	result = WITH_COMPLETED(path, NULL, env,
				real.execve(path, words, completed));
	say(NOTE_EXEC_FAILED, path, 0);
	return result;
}

EXPORTED int execvpe(const char *file, list words, list env)
{
	int result;

	FIND_REAL();
	say(NOTE_EXEC, file, 0);
	result = WITH_COMPLETED(file, search_path(), env,
				real.execvpe(file, words, completed));
	say(NOTE_EXEC_FAILED, file, 0);
	return result;
}

EXPORTED int fexecve(int file, list words, list env)
{
	int result;

	FIND_REAL();
	say(NOTE_EXEC, words && words[0] ? words[0] : "", 0);
	result = WITH_COMPLETED("", NULL, env,
				real.fexecve(file, words, completed));
	say(NOTE_EXEC_FAILED, "", 0);
	return result;
}

EXPORTED int execv(const char *path, list words)
{
	return execve(path, words, __environ);
}

EXPORTED int execvp(const char *file, list words)
{
	return execvpe(file, words, __environ);
}

/* Words that come as arguments, and behind them `env` if `with_env`. */
#define WITH_WORDS(first, with_env, call)                                  \
	({                                                                 \
		size_t n_words = 0;                                        \
		va_list arguments;                                         \
                                                                           \
		va_start(arguments, first);                                \
		for (char *word = (char *)(first); word;                   \
		     word = va_arg(arguments, char *))                     \
			n_words++;                                         \
		va_end(arguments);                                         \
		char *words[n_words + 1];                                  \
		va_start(arguments, first);                                \
		words[0] = (char *)(first);                                \
		for (size_t i = 1; i <= n_words; i++)                      \
			words[i] = va_arg(arguments, char *);              \
		list env = with_env ? va_arg(arguments, list) : __environ; \
		va_end(arguments);                                         \
		call;                                                      \
	})

EXPORTED int execl(const char *path, const char *first, ...)
{
	return WITH_WORDS(first, false, execve(path, words, env));
}

EXPORTED int execle(const char *path, const char *first, ...)
{
	return WITH_WORDS(first, true, execve(path, words, env));
}

EXPORTED int execlp(const char *file, const char *first, ...)
{
	return WITH_WORDS(first, false, execvpe(file, words, env));
}

EXPORTED int posix_spawn(int *pid, const char *path, const void *actions,
			 const void *attributes, list words, list env)
{
	int child = 0, error;

	FIND_REAL();
	error = WITH_COMPLETED(path, NULL, env,
			       real.posix_spawn(&child, path, actions,
						attributes, words, completed));
	if (!error)
		say(NOTE_EXEC, path, child);
	if (!error && pid)
		*pid = child;
	return error;
}

EXPORTED int posix_spawnp(int *pid, const char *file, const void *actions,
			  const void *attributes, list words, list env)
{
	int child = 0, error;

	FIND_REAL();
	error = WITH_COMPLETED(file, search_path(), env,
			       real.posix_spawnp(&child, file, actions,
						 attributes, words, completed));
	if (!error)
		say(NOTE_EXEC, file, child);
	if (!error && pid)
		*pid = child;
	return error;
}
