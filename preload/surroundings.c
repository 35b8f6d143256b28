/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that do not allocate, and after which something is otherwise. */
#include "process.h"
#include "real.h"

/* What may lie at its addresses next is other code. */
EXPORTED int dlclose(void *library)
{
	int result;

	FIND_REAL();
	result = real.dlclose(library);
	note_new_code(true);
	return result;
}

/* From now on a system call may be refused, or fatal. */
EXPORTED int prctl(int option, unsigned long a, unsigned long b,
		   unsigned long c, unsigned long d)
{
	FIND_REAL();
	if (option == PR_SET_SECCOMP) {
		ring.is_sandboxed = true;
		/* It takes the processor's counter away, too. */
		if (a == SECCOMP_MODE_STRICT)
			WRITE(stopped_clock_ns, now_ns(CLOCK_BOOTTIME));
	}
	return real.prctl(option, a, b, c, d);
}
