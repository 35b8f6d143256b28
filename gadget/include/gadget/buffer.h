/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way of an event to user space: a ring buffer where the kernel has one,
 * else a perf buffer with a scratch event per CPU. Which one is decided when
 * the object is loaded; ig turns the ring buffer map into a perf event array
 * where needed.
 */
#ifndef __GADGET_BUFFER_H
#define __GADGET_BUFFER_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define GADGET_MAX_EVENT_SIZE 10240

/* Say to ig, in the map that it reads, that an event found no room. */
static __always_inline void gadget_count_lost_sample(void);

#ifdef GADGET_IG_MAPS
#define GADGET_LOST_SAMPLES(name)                                            \
	struct {                                                             \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                     \
		__uint(max_entries, 1);                                      \
		__uint(key_size, sizeof(__u32));                             \
		__uint(value_size, sizeof(__u64));                           \
	} name##_lost_samples SEC(".maps");                                  \
	static __always_inline void gadget_count_lost_sample(void)           \
	{                                                                    \
		static const __u32 zero = 0;                                 \
		__u64 *count =                                               \
			bpf_map_lookup_elem(&name##_lost_samples, &zero);    \
                                                                             \
		if (count)                                                   \
			__sync_fetch_and_add(count, 1);                      \
	}
#else
#define GADGET_LOST_SAMPLES(name)                                            \
	static __always_inline void gadget_count_lost_sample(void)           \
	{                                                                    \
	}
#endif

/* The map of the events; there is one in a gadget. */
#define GADGET_TRACER_MAP(name, size)                \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_RINGBUF);  \
		__uint(max_entries, size);           \
	} name SEC(".maps");                         \
	GADGET_LOST_SAMPLES(name)                    \
	const void *gadget_map_tracer_##name

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, GADGET_MAX_EVENT_SIZE);
} gadget_heap SEC(".maps");

/*
 * A reader that polls needs no wake-up, and the traced program is spared the
 * interrupt that delivers it.
 */
const volatile bool gadget_buffer_is_polled = false;

enum bpf_func_id___ringbuf {
	BPF_FUNC_ringbuf_reserve___ringbuf = 131,
};

/*
 * Whether the running kernel lacks the ring buffer. "Likely" for clang alone,
 * the kernel removes the branch not taken: the perf path then stands in its
 * place among the instructions, whose order the diagrams show, with every
 * version of clang.
 */
static __always_inline bool gadget_needs_perf_buffer(void)
{
	return __builtin_expect(
		!bpf_core_enum_value_exists(enum bpf_func_id___ringbuf,
					    BPF_FUNC_ringbuf_reserve___ringbuf),
		1);
}

/* Room for an event of `size` bytes, or NULL when there is none. */
static __always_inline void *gadget_reserve_buf(void *map, __u64 size)
{
	static const __u32 zero = 0;
	void *buf;

	if (gadget_needs_perf_buffer())
		return bpf_map_lookup_elem(&gadget_heap, &zero);
	buf = bpf_ringbuf_reserve(map, size, 0);
	if (__builtin_expect(!buf, 0))
		gadget_count_lost_sample();
	return buf;
}

/* Give back what gadget_reserve_buf() gave, unsent. */
static __always_inline void gadget_discard_buf(void *buf)
{
	if (!gadget_needs_perf_buffer())
		bpf_ringbuf_discard(buf, 0);
}

/* Send what gadget_reserve_buf() gave; 0, or the negative error of a loss. */
static __always_inline long gadget_submit_buf(void *ctx, void *map, void *buf,
					      __u64 size)
{
	if (gadget_needs_perf_buffer())
		return bpf_perf_event_output(ctx, map, BPF_F_CURRENT_CPU, buf,
					     size);
	bpf_ringbuf_submit(buf, gadget_buffer_is_polled ? BPF_RB_NO_WAKEUP : 0);
	return 0;
}

#endif /* __GADGET_BUFFER_H */
