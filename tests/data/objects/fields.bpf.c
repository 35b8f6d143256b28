/* SPDX-License-Identifier: Apache-2.0 */
/* A datasource whose event has a member of every kind, those that are passed over included. */
#include "object.h"

typedef __u64 gadget_timestamp;
typedef __u32 gadget_pid;
typedef char gadget_comm;
typedef _Bool flag;

enum operation {
	OPEN,
	CLOSE = 7,
};

enum operation_signed {
	BELOW = -1,
	ABOVE = 1,
};

struct inner {
	gadget_comm comm[16];
	gadget_pid pid;
	__u32 __padding;
	struct {
		__s16 deepest;
	} named;
};

typedef struct {
	int hidden;
} behind_typedef;

struct event {
	gadget_timestamp timestamp_raw;
	struct inner proc;
	union {
		__u32 v4;
		__u8 v6[16];
	} address;
	enum operation operation_raw;
	enum operation_signed signed_raw;
	__s8 tiny;
	const volatile __u16 qualified;
	flag yes;
	char text[8];
	char letter;
	__u32 numbers[3];
	__u8 matrix[2][4];
	double real;
	float half;
	void *pointer;
	behind_typedef passed_over;
	struct inner several[2];
	__u8 nothing[0];
	__u64 __private;
	__u32 bit : 3;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

const void *gadget_map_tracer_events;
const void *gadget_tracer_files___events___event;
const struct event *keep_event;
static const void *gadget_tracer_unseen___events___event __attribute__((used));
int gadget_tracer_no_marker___events___event;

SEC("kprobe/one")
int sends(void *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (event)
		bpf_ringbuf_submit(event, 0);
	return 0;
}
