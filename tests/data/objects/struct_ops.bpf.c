/* SPDX-License-Identifier: Apache-2.0 */
/* Structs of function pointers: since 0.51 ig takes each variable of .struct_ops.link for a map. */
#include "object.h"

HASH_MAP(sockets);

struct tcp_congestion_ops {
	void (*init)(void *sk);
	__u32 (*undo_cwnd)(void *sk);
	char name[16];
};

SEC("struct_ops/init")
void on_init(unsigned long long *ctx)
{
	__u32 key = (__u32)ctx[0];
	__u64 value = 1;

	bpf_map_update_elem(&sockets, &key, &value, 0);
}

SEC("struct_ops")
__u32 on_undo(unsigned long long *ctx)
{
	__u32 key = (__u32)ctx[0];

	return bpf_map_lookup_elem(&sockets, &key) != 0;
}

SEC(".struct_ops.link")
struct tcp_congestion_ops quiet = {
	.init = (void *)on_init,
	.undo_cwnd = (void *)on_undo,
	.name = "quiet",
};

SEC(".struct_ops.link")
struct tcp_congestion_ops second = {
	.init = (void *)on_init,
	.name = "second",
};
