// daemon GO: becomes a daemon by two forks, as whoever starts it is to go on. Makes the file GO.ready, waits until GO
// is there, makes 30 blocks of 5101 bytes, frees them and keeps 3 of 5102. The command itself ends at once, with 3.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCKS 30

static void *volatile kept[3];

int main(int argc, char **argv)
{
	void *blocks[BLOCKS];
	char ready[4096];

	(void)argc;
	if (fork())
		_exit(3);
	setsid();
	if (fork())
		_exit(0);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	snprintf(ready, sizeof(ready), "%s.ready", argv[1]);
	close(open(ready, O_CREAT | O_WRONLY, 0600));
	while (access(argv[1], F_OK) != 0)
		usleep(10000);
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(5101);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	for (int i = 0; i < 3; i++)
		kept[i] = malloc(5102);
	return 0;
}
