/* Becomes who its file belongs to. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	void *volatile block = malloc(1000);

	printf("from %d to %d\n", (int)getuid(), (int)geteuid());
	free(block);
	return geteuid() == getuid() ? 1 : 14;
}
