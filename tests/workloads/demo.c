/*
 * A little server that forgets two things.
 *
 * It answers a thousand requests. remember() keeps an answer for every tenth
 * and loses the pointer: 100 blocks of 1000 bytes. parse_request() returns
 * early on a bad request, one in a hundred, without giving its buffer back: 10
 * blocks of 4096 bytes. Everything else is freed.
 *
 * Build it with -g -O1 -fno-omit-frame-pointer -fno-optimize-sibling-calls, so
 * that every caller is on the stack.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_REQUESTS 1000
#define BUFFER_SIZE 4096
#define ENTRY_SIZE 1000
#define N_SESSIONS 8

/* A function that was inlined has no symbol to be named by. */
#define noinline __attribute__((noinline))

struct entry {
	int request;
	char answer[ENTRY_SIZE - sizeof(int)];
};

static struct entry *latest;
static char *sessions[N_SESSIONS];

/* Leaks: the entry before the latest is forgotten, not freed. */
static noinline void remember(int request, const char *answer)
{
	struct entry *entry = malloc(sizeof(*entry));

	if (!entry)
		return;
	entry->request = request;
	strncpy(entry->answer, answer, sizeof(entry->answer));
	latest = entry;
}

/* Leaks: a bad request keeps its buffer. */
static noinline int parse_request(int request)
{
	char *buffer = malloc(BUFFER_SIZE);

	if (!buffer)
		return -1;
	snprintf(buffer, BUFFER_SIZE, "GET /%d", request);
	if (request % 100 == 99)
		return -1;
	free(buffer);
	return 0;
}

static noinline char *render(int request)
{
	char *answer = calloc(1, 64);

	if (answer)
		snprintf(answer, 64, "answer to %d", request);
	return answer;
}

static noinline void touch_session(int request)
{
	char **session = &sessions[request % N_SESSIONS];
	char *grown = realloc(*session, 32 + (size_t)request % 512);

	if (grown)
		*session = grown;
}

static noinline void serve(int request)
{
	char *answer;

	if (latest && latest->request == request)
		return; /* answered already */
	touch_session(request);
	if (parse_request(request) < 0)
		return;
	answer = render(request);
	if (answer && request % 10 == 0)
		remember(request, answer);
	free(answer);
}

static noinline void shut_down(void)
{
	latest = NULL; /* the last entry is forgotten like the others */
	for (int i = 0; i < N_SESSIONS; i++)
		free(sessions[i]);
}

int main(void)
{
	for (int request = 0; request < N_REQUESTS; request++)
		serve(request);
	shut_down();
	return 0;
}
