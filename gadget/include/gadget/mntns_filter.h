/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The container filter. ig replaces the map by its own set of the selected
 * containers' mount namespaces, which only works while type, sizes and flags
 * below stay exactly these, and sets the variable.
 */
#ifndef __GADGET_MNTNS_FILTER_H
#define __GADGET_MNTNS_FILTER_H

#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <gadget/mntns.h>
#include <gadget/types.h>

const volatile bool gadget_filter_by_mntns = false;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, gadget_mntns_id);
	__type(value, __u32);
} gadget_mntns_filter_map SEC(".maps");

/* Whether the current mount namespace is not among those asked for, if any. */
static __always_inline bool gadget_should_discard_mntns_current(void)
{
	gadget_mntns_id id;

	if (!gadget_filter_by_mntns)
		return false;
	id = gadget_get_current_mntns_id();
	return !bpf_map_lookup_elem(&gadget_mntns_filter_map, &id);
}

#endif /* __GADGET_MNTNS_FILTER_H */
