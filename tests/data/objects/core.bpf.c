/* SPDX-License-Identifier: Apache-2.0 */
/* CO-RE relocations of every kind, for the disassembly. */
#include "object.h"
#include <bpf/bpf_core_read.h>

struct kernel___flavour {
	int first;
	struct {
		long second;
		long third[4];
	} nested;
	unsigned int bits : 3;
} __attribute__((preserve_access_index));

enum kernel_enum {
	ONE = 1,
};

typedef struct kernel___flavour kernel_typedef;

SEC("kprobe/one")
int reads(struct kernel___flavour *argument)
{
	long sum = BPF_CORE_READ(argument, first);

	sum += BPF_CORE_READ(argument, nested.third[2]);
	sum += BPF_CORE_READ_BITFIELD_PROBED(argument, bits);
	sum += bpf_core_field_exists(argument->nested.second);
	sum += bpf_core_field_size(argument->nested);
	return sum;
}

SEC("kprobe/two")
int asks(void *ctx)
{
	long sum = bpf_core_type_exists(struct kernel___flavour);

	sum += bpf_core_type_size(kernel_typedef);
	sum += bpf_core_type_id_local(struct kernel___flavour);
	sum += bpf_core_type_id_kernel(struct kernel___flavour);
	sum += bpf_core_enum_value_exists(enum kernel_enum, ONE);
	sum += bpf_core_enum_value(enum kernel_enum, ONE);
	return sum;
}
