/* SPDX-License-Identifier: Apache-2.0 */
/* What the library reads of loaded ELF objects; elf(5). */
#ifndef PRELOAD_ELF_H
#define PRELOAD_ELF_H

#include "base.h"

#define PT_LOAD 1
#define PT_DYNAMIC 2
#define PT_GNU_EH_FRAME 0x6474e550

#define DT_NULL 0
#define DT_HASH 4
#define DT_STRTAB 5
#define DT_SYMTAB 6
#define DT_GNU_HASH 0x6ffffef5
#define DT_VERSYM 0x6ffffff0

#define SYMBOL_FUNCTION 2
#define VERSION_HIDDEN 0x8000

struct program_header {
	uint32_t type;
	uint32_t flags;
	uint64_t offset;
	uint64_t address;
	uint64_t physical_address;
	uint64_t file_bytes;
	uint64_t memory_bytes;
	uint64_t alignment;
};

struct symbol {
	uint32_t name;
	uint8_t info;
	uint8_t other;
	uint16_t section;
	uint64_t value;
	uint64_t size;
};

/* Of a dynamic section. */
struct entry {
	int64_t tag;
	uint64_t value;
};

#endif /* PRELOAD_ELF_H */
