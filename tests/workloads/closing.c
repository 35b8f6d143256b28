// closing READY [ignore]: makes 100 blocks of 4321 bytes and the file READY. SIGINT frees them, slowly, and ends
// it; or does nothing. Ends by itself when READY is gone.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCKS 100

static volatile sig_atomic_t is_interrupted;

static void note(int number)
{
	(void)number;
	is_interrupted = 1;
}

int main(int argc, char **argv)
{
	void *blocks[BLOCKS];

	signal(SIGINT, argc > 2 ? SIG_IGN : note);
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(4321);
	close(open(argv[1], O_CREAT | O_WRONLY, 0600));
	while (!is_interrupted && access(argv[1], F_OK) == 0)
		usleep(10000);
	for (int i = 0; i < BLOCKS; i++) {
		usleep(5000);
		free(blocks[i]);
	}
	return 7;
}
