/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that run on the entries or sockets of one map, and the markers that name it, as ig 0.55 has them. */
#include "object.h"

HASH_MAP(watched);

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

const void *gadget_mapelem_iter_target_each_entry___watched;
const void *gadget_sk_prog_target_on_stream___sockets;
const void *gadget_sk_prog_target_on_message___sockets;

SEC("iter/bpf_map_elem")
int each_entry(void *ctx)
{
	__u32 key = 0;

	bpf_map_delete_elem(&watched, &key);
	return 0;
}

SEC("sk_skb/stream_verdict")
int on_stream(void *skb)
{
	return bpf_sk_redirect_hash(skb, &sockets, &(__u32){ 0 }, 0);
}

SEC("sk_msg")
int on_message(void *message)
{
	return bpf_msg_redirect_hash(message, &sockets, &(__u32){ 0 }, 0);
}
