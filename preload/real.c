/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next function of a name, as dlsym(RTLD_NEXT, name) finds it: in the
 * objects behind ours, in their order. dlsym() itself may allocate, takes
 * locks, and is in another library before glibc 2.34.
 */
#include "elf.h"
#include "real.h"

struct real real;
struct code_range allocator_code;

struct search {
	const char *name;
	uint32_t hash;
	bool is_before_ours; /* look there instead */
	bool is_behind_ours;
	uintptr_t found;
	struct code_range code; /* of the object that has it */
};

static uint32_t hash_of(const char *name)
{
	uint32_t hash = 5381;

	while (*name)
		hash = hash * 33 + (uint8_t)*name++;
	return hash;
}

static bool is_same(const char *left, const char *right)
{
	while (*left && *left == *right) {
		left++;
		right++;
	}
	return *left == *right;
}

/* What the dynamic section of an object points at. */
struct dynamic {
	const struct symbol *symbols;
	const char *strings;
	const uint16_t *versions;
	const uint32_t *gnu_hash;
	const uint32_t *hash;
};

/* glibc has made addresses of what stands there; musl leaves it as it is. */
static const void *pointer(uintptr_t base, uint64_t value)
{
	return (const void *)(value < base ? base + value : value);
}

static struct dynamic read_dynamic(uintptr_t base, const struct entry *entry)
{
	struct dynamic dynamic = {0};

	for (; entry->tag != DT_NULL; entry++) {
		const void *place = pointer(base, entry->value);

		if (entry->tag == DT_SYMTAB)
			dynamic.symbols = place;
		else if (entry->tag == DT_STRTAB)
			dynamic.strings = place;
		else if (entry->tag == DT_VERSYM)
			dynamic.versions = place;
		else if (entry->tag == DT_GNU_HASH)
			dynamic.gnu_hash = place;
		else if (entry->tag == DT_HASH)
			dynamic.hash = place;
	}
	return dynamic;
}

static bool is_wanted(const struct dynamic *dynamic, uint32_t index,
		      const char *name)
{
	const struct symbol *symbol = &dynamic->symbols[index];

	if (symbol->section == 0 || (symbol->info & 0xf) != SYMBOL_FUNCTION ||
	    !is_same(dynamic->strings + symbol->name, name))
		return false;
	return !dynamic->versions ||
	       !(dynamic->versions[index] & VERSION_HIDDEN);
}

static const struct symbol *by_gnu_hash(const struct dynamic *dynamic,
					const struct search *search)
{
	const uint32_t *table = dynamic->gnu_hash;
	uint32_t n_buckets = table[0], first = table[1], n_words = table[2];
	const uint32_t *buckets = table + 4 + 2 * n_words;
	const uint32_t *chain = buckets + n_buckets - first;
	uint32_t index = n_buckets ? buckets[search->hash % n_buckets] : 0;

	if (index < first)
		return NULL;
	for (;; index++) {
		if ((chain[index] | 1) == (search->hash | 1) &&
		    is_wanted(dynamic, index, search->name))
			return &dynamic->symbols[index];
		if (chain[index] & 1)
			return NULL;
	}
}

static const struct symbol *one_by_one(const struct dynamic *dynamic,
				       const struct search *search)
{
	for (uint32_t i = 1; i < dynamic->hash[1]; i++) {
		if (is_wanted(dynamic, i, search->name))
			return &dynamic->symbols[i];
	}
	return NULL;
}

static uintptr_t address_in(uintptr_t base, const struct entry *entry,
			    const struct search *search)
{
	struct dynamic dynamic = read_dynamic(base, entry);
	const struct symbol *symbol = NULL;

	if (!dynamic.symbols || !dynamic.strings)
		return 0;
	if (dynamic.gnu_hash)
		symbol = by_gnu_hash(&dynamic, search);
	else if (dynamic.hash)
		symbol = one_by_one(&dynamic, search);
	return symbol ? base + symbol->value : 0;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *data)
{
	struct search *search = data;
	const struct program_header *headers = info->headers;
	const struct entry *dynamic = NULL;
	struct code_range range = {UINTPTR_MAX, 0};

	(void)size;
	for (int i = 0; i < info->n_headers; i++) {
		uintptr_t start = info->address + headers[i].address;
		uintptr_t end = start + headers[i].memory_bytes;

		if (headers[i].type == PT_DYNAMIC)
			dynamic = (const void *)start;
		if (headers[i].type != PT_LOAD)
			continue;
		range.start = start < range.start ? start : range.start;
		range.end = end > range.end ? end : range.end;
	}
	if ((uintptr_t)&real >= range.start && (uintptr_t)&real < range.end) {
		search->is_behind_ours = true;
		return search->is_before_ours;
	}
	if (search->is_before_ours == search->is_behind_ours || !dynamic)
		return 0;
	search->found = address_in(info->address, dynamic, search);
	search->code = range;
	return search->found != 0;
}

static bool find(struct search *search)
{
	search->hash = hash_of(search->name);
	return dl_iterate_phdr(look_at, search) != 0;
}

void *real_function(const char *name)
{
	struct search search = {.name = name};

	return find(&search) ? (void *)search.found : NULL;
}

bool real_is_preceded(const char *name)
{
	struct search search = {.name = name, .is_before_ours = true};

	find(&search);
	return search.found != 0;
}

void real_find(void)
{
	struct search search = {.name = "malloc"};

	real.free = real_function("free");
	real.calloc = real_function("calloc");
	real.realloc = real_function("realloc");
	real.reallocarray = real_function("reallocarray");
	real.posix_memalign = real_function("posix_memalign");
	real.aligned_alloc = real_function("aligned_alloc");
	real.memalign = real_function("memalign");
	real.valloc = real_function("valloc");
	real.pvalloc = real_function("pvalloc");
	real.free_sized = real_function("free_sized");
	real.free_aligned_sized = real_function("free_aligned_sized");
	real.mmap = real_function("mmap");
	real.munmap = real_function("munmap");
	real.mremap = real_function("mremap");
	real.prctl = real_function("prctl");
	real.dlclose = real_function("dlclose");
	real.execve = real_function("execve");
	real.execvpe = real_function("execvpe");
	real.fexecve = real_function("fexecve");
	real.posix_spawn = real_function("posix_spawn");
	real.posix_spawnp = real_function("posix_spawnp");
	if (find(&search))
		allocator_code = search.code;
	/* Last: whoever sees it sees the others. */
	WRITE_RELEASE(real.malloc, (void *(*)(size_t))search.found);
}
