/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What a program can ask of its allocator: one list for the gadget and for the
 * preloaded library. The names and numbers are part of the interface: append
 * only.
 */
#ifndef __MEMOP_H
#define __MEMOP_H

/* The library defines functions of these names, and spells them otherwise. */
#ifndef MEMOP
#define MEMOP(name) name
#endif

enum memop {
	MEMOP(malloc) = 0,
	MEMOP(free) = 1,
	MEMOP(calloc) = 2,
	MEMOP(realloc) = 3,
	MEMOP(realloc_free) = 4,
	MEMOP(mmap) = 5,
	MEMOP(munmap) = 6,
	MEMOP(posix_memalign) = 7,
	MEMOP(aligned_alloc) = 8,
	MEMOP(valloc) = 9,
	MEMOP(memalign) = 10,
	MEMOP(pvalloc) = 11,
};

#endif /* __MEMOP_H */
