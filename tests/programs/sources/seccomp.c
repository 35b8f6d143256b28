/* Allocates where few system calls are allowed: strict mode, a filter that refuses, a filter that kills. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALLOW(number)                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##number, 0, 1),       \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void forbid(unsigned int otherwise)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(write),
		ALLOW(exit),
		ALLOW(exit_group),
		ALLOW(brk),
		ALLOW(rt_sigreturn),
		BPF_STMT(BPF_RET | BPF_K, otherwise),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(99);
}

int main(int argc, char **argv)
{
	void *kept[100];

	/* What follows fits in here: no system call is needed for it. */
	free(malloc(100000));
	if (!strcmp(argv[1], "strict") && prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		return 98;
	if (!strcmp(argv[1], "filter"))
		forbid(SECCOMP_RET_ERRNO | 1);
	if (!strcmp(argv[1], "kill"))
		forbid(SECCOMP_RET_KILL_PROCESS);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 100; i++)
			kept[i] = malloc(10 + i * 7);
		for (int i = 0; i < 100; i++)
			free(kept[i]);
	}
	write(1, "allocated\n", 10);
	/* Strict mode has no exit_group(). */
	syscall(__NR_exit, 13);
}
