// family_of_three GO: a process, its child and its grandchild, which run until GO is there. Each then makes 10 blocks:
// of 4401, 4402 and 4403 bytes, frees them, and ends after its child.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int generation = 1;
	pid_t child = 0;

	(void)argc;
	while (generation < 3) {
		child = fork();
		if (child != 0)
			break;
		generation++;
	}
	while (access(argv[1], F_OK) != 0)
		usleep(10000);
	for (int i = 0; i < 10; i++)
		free(malloc(4400 + generation));
	if (child != 0)
		waitpid(child, NULL, 0);
	return 0;
}
