/* SPDX-License-Identifier: Apache-2.0 */
/* A program without maps is a node, and nothing else. */
#include "object.h"

SEC("tracepoint/syscalls/sys_enter_openat")
int alone(void *ctx)
{
	return 0;
}
