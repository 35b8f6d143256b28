/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of types that older compilers did not write: 64-bit enums, tags of declarations and types, floats. */
#include "object.h"

enum wide {
	NARROW = 1,
	WIDE = 0x123456789a,
};

enum wide_signed {
	FAR_BELOW = -0x123456789a,
};

#define TAGGED __attribute__((btf_decl_tag("tagged")))
#define KEPT __attribute__((btf_type_tag("kept")))

struct only_declared;
union only_declared_too;

struct holder {
	enum wide wide;
	enum wide_signed wide_signed;
	float single;
	double twice;
	int KEPT *pointer;
	int tagged TAGGED;
	struct only_declared *declared;
	union only_declared_too *declared_too;
	const int *volatile *restrict chain;
	struct holder *itself;
	unsigned int narrow : 3;
	int (*function)(int first, const char *second);
} TAGGED;

struct holder held TAGGED;

SEC("kprobe/one") TAGGED
int uses(void *ctx)
{
	return held.narrow;
}
