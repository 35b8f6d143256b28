/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the file that is to be executed: its dynamic section names the
 * libraries that it needs. Runs in children of vfork(), too.
 */
#include "elf.h"
#include "program.h"

#define HEADER_BYTES 64
#define MAX_PATH 4096
#define SEEK_END 2
#define DT_NEEDED 1
#define DT_STRTAB 5

static const char *const sanitizers[] = {
	"libasan.so",	      "libtsan.so",	  "liblsan.so",
	"libhwasan.so",	      "libclang_rt.asan", "libclang_rt.tsan",
	"libclang_rt.hwasan",
};

/* A file, mapped as it is. */
struct image {
	const uint8_t *start;
	uint64_t size;
};

static const void *at(const struct image *image, uint64_t offset, uint64_t size)
{
	if (offset > image->size || size > image->size - offset)
		return NULL;
	return image->start + offset;
}

static uint64_t number_at(const struct image *image, uint64_t offset,
			  size_t size)
{
	const void *place = at(image, offset, size);
	uint64_t value = 0;

	if (place)
		memcpy(&value, place, size);
	return value;
}

static const struct program_header *header_at(const struct image *image,
					      uint64_t index)
{
	uint64_t table = number_at(image, 32, 8);
	uint64_t entry = number_at(image, 54, 2),
		 count = number_at(image, 56, 2);

	if (index >= count || entry != sizeof(struct program_header))
		return NULL;
	return at(image, table + index * entry, entry);
}

/* Where in the file what is mapped at `address` lies. */
static uint64_t offset_of(const struct image *image, uint64_t address)
{
	const struct program_header *header;

	for (uint64_t i = 0; (header = header_at(image, i)); i++) {
		if (header->type == PT_LOAD && address >= header->address &&
		    address - header->address < header->file_bytes)
			return address - header->address + header->offset;
	}
	return image->size;
}

static bool is_sanitizer(const char *name, const char *end)
{
	for (size_t i = 0; i < COUNT_OF(sanitizers); i++) {
		size_t length = strlen(sanitizers[i]);

		if (name + length <= end &&
		    !memcmp(name, sanitizers[i], length))
			return true;
	}
	return false;
}

static bool needs_sanitizer(const struct image *image,
			    const struct program_header *dynamic)
{
	uint64_t count = dynamic->file_bytes / sizeof(struct entry);
	const struct entry *entries =
		at(image, dynamic->offset, count * sizeof(struct entry));
	uint64_t strings = image->size;

	for (uint64_t i = 0; entries && i < count; i++) {
		if (entries[i].tag == DT_STRTAB)
			strings = offset_of(image, entries[i].value);
	}
	for (uint64_t i = 0; entries && i < count; i++) {
		const char *name = at(image, strings + entries[i].value, 1);

		if (entries[i].tag == DT_NEEDED && name &&
		    is_sanitizer(name,
				 (const char *)image->start + image->size))
			return true;
	}
	return false;
}

static bool image_needs_sanitizer(const struct image *image)
{
	static const char magic[] = {0x7f, 'E', 'L', 'F', 2, 1};
	const struct program_header *header;

	if (image->size < HEADER_BYTES ||
	    memcmp(image->start, magic, sizeof(magic)) != 0)
		return false;
	for (uint64_t i = 0; (header = header_at(image, i)); i++) {
		if (header->type == PT_DYNAMIC)
			return needs_sanitizer(image, header);
	}
	return false;
}

/* False where there is no such file; else says in `found` what it needs. */
static bool look_into(const char *path, bool *found)
{
	long file =
		SYSTEM_CALL(NR_OPENAT, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	long size, start;
	struct image image;

	*found = false;
	if (is_error(file))
		return false;
	size = SYSTEM_CALL(NR_LSEEK, file, 0, SEEK_END);
	start = size > 0 ? SYSTEM_CALL(NR_MMAP, 0, size, PROT_READ, MAP_PRIVATE,
				       file, 0)
			 : -EFAULT;
	SYSTEM_CALL(NR_CLOSE, file);
	if (is_error(start))
		return true;
	image = (struct image){(const uint8_t *)start, (uint64_t)size};
	*found = image_needs_sanitizer(&image);
	SYSTEM_CALL(NR_MUNMAP, start, size);
	return true;
}

static bool has_slash(const char *file)
{
	while (*file && *file != '/')
		file++;
	return *file == '/';
}

bool program_needs_sanitizer(const char *file, const char *path)
{
	size_t length = strlen(file);
	char place[MAX_PATH];
	bool found;

	if (!path || has_slash(file)) {
		look_into(file, &found);
		return found;
	}
	while (*path) {
		size_t size = 0;

		while (path[size] && path[size] != ':')
			size++;
		if (size + length + 2 <= sizeof(place)) {
			memcpy(place, path, size);
			place[size] = '/';
			memcpy(place + size + 1, file, length + 1);
			if (look_into(place, &found))
				return found;
		}
		path += size + (path[size] == ':');
	}
	return false;
}
