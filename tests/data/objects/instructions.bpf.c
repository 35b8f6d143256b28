/* SPDX-License-Identifier: Apache-2.0 */
/* One of every kind of instruction, for the disassembly. Compiled for the newest instruction set. */
#include "object.h"

__u64 target;
__u32 small;

SEC("kprobe/one")
int arithmetic(void *ctx)
{
	asm volatile("r1 = 0x1122334455667788 ll; r2 = -5 ll; r1 += r2; r1 -= 3; r1 *= r2; r1 /= 7; w1 /= w2;"
		     "r1 s/= r2; w1 s%%= 3; r1 |= 1; r1 &= r2; r1 <<= 3; r1 >>= r2; r1 s>>= 4; w1 s>>= w2;"
		     "r1 %%= 9; r1 ^= r2; r1 = -r1; w1 = -w1; w1 = 5; w1 = w2; w1 += -1;"
		     "r1 = be16 r1; r1 = be32 r1; r1 = be64 r1; r1 = le16 r1; r1 = le64 r1;"
		     "r1 = bswap16 r1; r1 = bswap32 r1; r1 = bswap64 r1;"
		     "r1 = (s8)r2; r1 = (s16)r2; r1 = (s32)r2; w1 = (s8)w2; w1 = (s16)w2;"
		     : : : "r1", "r2");
	return 0;
}

SEC("kprobe/two")
int jumps(void *ctx)
{
	asm volatile("r1 = 1; r2 = 2;"
		     "if r1 == r2 goto +1; r1 = 1; if r1 != 4 goto +1; r1 = 1; if r1 > r2 goto +1; r1 = 1;"
		     "if r1 >= 3 goto +1; r1 = 1; if r1 < r2 goto +1; r1 = 1; if r1 <= 3 goto +1; r1 = 1;"
		     "if r1 s> r2 goto +1; r1 = 1; if r1 s>= -3 goto +1; r1 = 1; if r1 s< r2 goto +1; r1 = 1;"
		     "if r1 s<= 3 goto +1; r1 = 1; if r1 & 8 goto +1; r1 = 1; if w1 == w2 goto +1; r1 = 1;"
		     "if w1 s< -4 goto +1; r1 = 1; if w1 & w2 goto +1; r1 = 1; goto +1; r1 = 1; gotol +1; r1 = 1;"
		     : : : "r1", "r2");
	return 0;
}

SEC("kprobe/three")
int memory(void *ctx)
{
	asm volatile("r1 = r10; r2 = 1; r1 += -16;"
		     "*(u64 *)(r1 + 0) = r2; *(u32 *)(r1 + 8) = r2; *(u16 *)(r1 + 8) = r2; *(u8 *)(r1 + 8) = r2;"
		     "*(u64 *)(r1 + 0) = 5; *(u32 *)(r1 + 8) = -1; *(u16 *)(r1 + 8) = 3; *(u8 *)(r1 + 8) = 4;"
		     "r3 = *(u64 *)(r1 + 0); r3 = *(u32 *)(r1 + 8); r3 = *(u16 *)(r1 + 8); r3 = *(u8 *)(r1 + 8);"
		     "r3 = *(s32 *)(r1 + 8); r3 = *(s16 *)(r1 + 8); r3 = *(s8 *)(r1 + 8);"
		     : : : "r1", "r2", "r3");
	return 0;
}

SEC("socket/four")
int packets(void *ctx)
{
	asm volatile("r6 = r1; r2 = 2; r0 = *(u8 *)skb[3]; r0 = *(u16 *)skb[4]; r0 = *(u32 *)skb[r2];" : : : "r0", "r2", "r6");
	return 0;
}

SEC("kprobe/five")
int atomics(void *ctx)
{
	__u64 expected = 1;

	__sync_fetch_and_add(&target, 1);
	expected += __sync_fetch_and_add(&target, expected);
	expected += __sync_fetch_and_and(&target, expected);
	expected += __sync_fetch_and_or(&target, expected);
	expected += __sync_fetch_and_xor(&target, expected);
	expected += __sync_lock_test_and_set(&target, expected);
	expected += __sync_val_compare_and_swap(&target, expected, 2);
	small += __sync_fetch_and_add(&small, 3);
	return expected;
}

SEC("kprobe/six")
int calls(void *ctx)
{
	static long (*nameless)(void) = (void *)100000;

	return nameless() + bpf_get_smp_processor_id() + bpf_jiffies64();
}
