/* Children that allocate in their parent's memory, until they execute another program or end. */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static void *volatile kept;

int main(void)
{
	char *const echo[] = {"echo", "spawned", NULL};
	int status, sum = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 0; i < 20; i++) {
		pid_t child = vfork();
		if (child == 0) {
			kept = malloc(100 + i);
			if (i % 2)
				execlp("sh", "sh", "-c", "exit 2", NULL);
			_exit(1);
		}
		waitpid(child, &status, 0);
		sum += WEXITSTATUS(status);
		free(kept);
	}
	for (int i = 0; i < 5; i++) {
		pid_t child;
		posix_spawnp(&child, "echo", NULL, NULL, echo, environ);
		waitpid(child, &status, 0);
	}
	printf("%d\n", sum);
	return system("exit 15") >> 8;
}
