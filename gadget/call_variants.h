/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Variants: functions that do what another one does, but have their arguments
 * in other places or another kind of result. mi_heap_malloc() is a malloc()
 * whose size is the second argument; mremap() is an mmap() that gives another
 * mapping back.
 *
 * The program of the other function is attached to them, with a number (an
 * attach cookie, Linux 5.15) that says what is where. Without a number the
 * arguments are those of the function that the program is named after.
 */
#ifndef __CALL_VARIANTS_H
#define __CALL_VARIANTS_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/*
 * Fields of a variant's number, 4 bits each: which argument it is, from 1; 0
 * means that the function has no such argument. Above them is the result.
 */
#define VARIANT_SIZE_SHIFT 0
#define VARIANT_COUNT_SHIFT 4 /* the size is that of one of so many elements \
			       */
#define VARIANT_BLOCK_SHIFT 8
#define VARIANT_RESULT_SHIFT 12
#define VARIANT_FIELD_MASK 0xf

/* What a call returns. */
#define RESULT_ADDRESS 0
/* The same; the size is the length of the string that is there. */
#define RESULT_STRING 1
/* The block, if its size could be changed where it is, else NULL. */
#define RESULT_SAME_BLOCK 2
/* The size that the block has now; the change failed if it is smaller. */
#define RESULT_BLOCK_SIZE 3
/* An address; if it is NULL, the old block was released all the same. */
#define RESULT_ADDRESS_OR_RELEASE 4
/* 0, and the address is where the block's address was. */
#define RESULT_STATUS 5
/* The address of a mapping that replaces another one: mremap(). */
#define RESULT_MAPPING 6

/* So many parts of a string are read to find out how long it is. */
#define STRING_PART_BYTES 128
#define STRING_PARTS 64

#define MREMAP_DONTUNMAP 4

enum bpf_func_id___cookie {
	BPF_FUNC_get_attach_cookie___cookie = 174,
};

/* The number that the probe at hand was attached with; 0: none. */
static __always_inline __u64 call_variant(struct pt_regs *ctx)
{
	if (!bpf_core_enum_value_exists(enum bpf_func_id___cookie,
					BPF_FUNC_get_attach_cookie___cookie))
		return 0;
	return bpf_get_attach_cookie(ctx);
}

static __always_inline __u32 variant_field(__u64 variant, __u32 shift)
{
	return variant >> shift & VARIANT_FIELD_MASK;
}

static __always_inline __u32 variant_result(__u64 variant)
{
	return variant_field(variant, VARIANT_RESULT_SHIFT);
}

/*
 * Argument `number` of the call, from 1; 0 if there is none. Not inline: clang
 * would read it through a pointer that it computes, which no context may be.
 */
static __noinline __u64 call_argument(struct pt_regs *ctx, __u32 number)
{
	__u64 value = 0;

	if (number == 1)
		value = PT_REGS_PARM1(ctx);
	barrier_var(value);
	if (number == 2)
		value = PT_REGS_PARM2(ctx);
	barrier_var(value);
	if (number == 3)
		value = PT_REGS_PARM3(ctx);
	barrier_var(value);
	if (number == 4)
		value = PT_REGS_PARM4(ctx);
	barrier_var(value);
	return value;
}

static __always_inline __u64 saturating_product(__u64 count, __u64 size)
{
	__u64 limit = size == 0 ? (__u64)-1 : (__u64)-1 / size;

	/* Else clang makes it a 128-bit product, which BPF has not. */
	barrier_var(limit);
	return count > limit ? (__u64)-1 : count * size;
}

/* How many bytes a variant's call asks for. */
static __noinline __u64 variant_size(struct pt_regs *ctx, __u64 variant)
{
	__u32 count = variant_field(variant, VARIANT_COUNT_SHIFT);
	__u64 size =
		call_argument(ctx, variant_field(variant, VARIANT_SIZE_SHIFT));

	return count ? saturating_product(call_argument(ctx, count), size)
		     : size;
}

/* The block that a variant's call is about. */
static __always_inline __u64 variant_block(struct pt_regs *ctx, __u64 variant)
{
	return call_argument(ctx, variant_field(variant, VARIANT_BLOCK_SHIFT));
}

/* The pointer at `address` of the process; 0 if it cannot be read. */
static __always_inline __u64 user_pointer(__u64 address)
{
	__u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)address);
	return value;
}

/*
 * Bytes of the string at `address`, with its end; as far as it is looked at,
 * or can be read. Not static: the verifier then looks at it once.
 */
__noinline __u64 string_bytes(__u64 address)
{
	char part[STRING_PART_BYTES];
	__u64 total = 0;

	for (__u32 i = 0; i < STRING_PARTS; i++) {
		long length = bpf_probe_read_user_str(
			part, sizeof(part), (void *)(address + total));

		if (length < STRING_PART_BYTES) {
			total += length > 0 ? length : 0;
			break;
		}
		/* The last byte is an end that was put there. */
		total += STRING_PART_BYTES - 1;
	}
	return total;
}

/*
 * Whether mremap(start, length, new_length, flags) gives pages of `start`
 * back. The kernel refuses a start inside of a page and no new length; with no
 * old length it makes a second mapping of what is there.
 */
static __always_inline bool gives_mapping_back(struct pt_regs *ctx)
{
	return !(PT_REGS_PARM1(ctx) & page_mask) && PT_REGS_PARM2(ctx) &&
	       PT_REGS_PARM3(ctx) && !(PT_REGS_PARM4(ctx) & MREMAP_DONTUNMAP);
}

#endif /* __CALL_VARIANTS_H */
