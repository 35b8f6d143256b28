/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Call frame information: .eh_frame, found by its table .eh_frame_hdr (LSB
 * Core, "Exception Frames"; DWARF 5, section 6.4).
 *
 * Only what a walk needs is computed: where the frame is, and where the return
 * address and the frame pointer were saved.
 */
#include "cfi.h"
#include "elf.h"

#if defined(__x86_64__)
enum { REG_BP = 6, REG_SP = 7, REG_RA = 16 };
#else
enum { REG_BP = 29, REG_SP = 31, REG_RA = 30 };
#endif

#define MAX_OBJECTS 512
#define MAX_REMEMBERED 8

/* Encodings of pointers. */
#define ENCODED_OMIT 0xff
#define ENCODED_FORM 0x0f
#define ENCODED_RELATIVE 0x70
#define ENCODED_PCREL 0x10
#define TABLE_ENCODING 0x3b /* relative to the table, 4 bytes, signed */

enum {
	CFA_ADVANCE_LOC = 0x40,
	CFA_OFFSET = 0x80,
	CFA_RESTORE = 0xc0,
	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE_LOC1 = 0x02,
	CFA_ADVANCE_LOC2 = 0x03,
	CFA_ADVANCE_LOC4 = 0x04,
	CFA_OFFSET_EXTENDED = 0x05,
	CFA_RESTORE_EXTENDED = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME_VALUE = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER_STATE = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_REGISTER = 0x0d,
	CFA_DEF_CFA_OFFSET = 0x0e,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_DEF_CFA_SF = 0x12,
	CFA_DEF_CFA_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_NEGATE_RA_STATE = 0x2d,
	CFA_GNU_ARGS_SIZE = 0x2e,
};

#define OP_DEREF 0x06
#define OP_BREG0 0x70

/* Where a register of the caller is. */
enum where { UNCHANGED, AT_OFFSET, AT_POINTER, UNDEFINED, ELSEWHERE };

struct place {
	enum where where;
	int64_t offset;
};

struct row {
	uint64_t cfa_register;
	int64_t cfa_offset;
	bool is_expression;
	bool is_saved; /* the expression: the word at bp + cfa_offset */
	struct place bp;
	struct place ra;
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

struct cie {
	uint64_t code_factor;
	int64_t data_factor;
	uint8_t encoding;
	bool has_augmentation;
	bool is_signal;
	struct reader program;
};

struct table {
	const uint8_t *start; /* of .eh_frame_hdr; NULL: there is none */
};

static uint64_t read_bytes(struct reader *reader, size_t size)
{
	uint64_t value = 0;

	if ((size_t)(reader->end - reader->at) < size) {
		reader->at = reader->end;
		return 0;
	}
	memcpy(&value, reader->at, size);
	reader->at += size;
	return value;
}

static uint64_t read_uleb(struct reader *reader)
{
	uint64_t value = 0;
	unsigned int shift = 0;

	while (reader->at < reader->end) {
		uint8_t byte = *reader->at++;

		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		if (!(byte & 0x80))
			break;
	}
	return value;
}

static int64_t read_sleb(struct reader *reader)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte = 0;

	while (reader->at < reader->end) {
		byte = *reader->at++;
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		if (!(byte & 0x80))
			break;
	}
	if (shift < 64 && byte & 0x40)
		value |= ~0ULL << shift;
	return (int64_t)value;
}

/* A pointer by its encoding; 0 where that is one that nobody uses here. */
static uintptr_t read_pointer(struct reader *reader, uint8_t encoding)
{
	uintptr_t base = 0;
	int64_t value;

	if ((encoding & ENCODED_RELATIVE) == ENCODED_PCREL)
		base = (uintptr_t)reader->at;
	switch (encoding & ENCODED_FORM) {
	case 0x00:
	case 0x04:
	case 0x0c:
		value = (int64_t)read_bytes(reader, 8);
		break;
	case 0x02:
		value = (uint16_t)read_bytes(reader, 2);
		break;
	case 0x03:
		value = (uint32_t)read_bytes(reader, 4);
		break;
	case 0x0a:
		value = (int16_t)read_bytes(reader, 2);
		break;
	case 0x0b:
		value = (int32_t)read_bytes(reader, 4);
		break;
	default:
		return 0;
	}
	return base + (uintptr_t)value;
}

/* Set `reader` to what one entry holds, whose length stands before it. */
static bool enter(const uint8_t *entry, struct reader *reader)
{
	uint32_t length;

	memcpy(&length, entry, sizeof(length));
	if (length == 0 || length == UINT32_MAX)
		return false;
	reader->at = entry + sizeof(length);
	reader->end = reader->at + length;
	return true;
}

static void read_augmentation(struct reader *reader, const char *letters,
			      struct cie *cie)
{
	for (; *letters; letters++) {
		switch (*letters) {
		case 'R':
			cie->encoding = (uint8_t)read_bytes(reader, 1);
			break;
		case 'P':
			read_pointer(reader, (uint8_t)read_bytes(reader, 1));
			break;
		case 'L':
			read_bytes(reader, 1);
			break;
		case 'S':
			cie->is_signal = true;
			break;
		default: /* 'B' has no data; what is not known ends it */
			break;
		}
	}
}

static bool read_cie(const uint8_t *entry, struct cie *cie)
{
	struct reader reader;
	const char *letters;
	const uint8_t *program;
	uint8_t version;

	if (!enter(entry, &reader) || read_bytes(&reader, 4) != 0)
		return false;
	version = (uint8_t)read_bytes(&reader, 1);
	letters = (const char *)reader.at;
	reader.at += strlen(letters) + 1;
	*cie = (struct cie){.code_factor = read_uleb(&reader)};
	cie->data_factor = read_sleb(&reader);
	if (version == 1)
		read_bytes(&reader, 1);
	else
		read_uleb(&reader);
	if (*letters == 'z') {
		cie->has_augmentation = true;
		program = read_uleb(&reader) + reader.at;
		read_augmentation(&reader, letters + 1, cie);
		reader.at = program;
	} else if (*letters) {
		return false;
	}
	cie->program = reader;
	return true;
}

static struct place *place_of(struct row *row, uint64_t number)
{
	if (number == REG_BP)
		return &row->bp;
	return number == REG_RA ? &row->ra : NULL;
}

static void put(struct row *row, uint64_t number, enum where where,
		int64_t offset)
{
	struct place *place = place_of(row, number);

	if (place)
		*place = (struct place){where, offset};
}

/* The frame by an expression: "the word at bp + offset" is the one in use. */
static void define_by_expression(struct reader *reader, struct row *row)
{
	uint64_t size = read_uleb(reader);
	const uint8_t *end = reader->at + size;

	row->is_expression = true;
	row->is_saved = false;
	if (size >= 3 && *reader->at == OP_BREG0 + REG_BP) {
		reader->at++;
		row->cfa_offset = read_sleb(reader);
		row->is_saved =
			reader->at == end - 1 && *reader->at == OP_DEREF;
	}
	reader->at = end;
}

/*
 * A register that was saved where an expression says. Where the stack was
 * aligned, bp points at the bp that was saved.
 */
static void put_by_expression(struct reader *reader, struct row *row)
{
	uint64_t number = read_uleb(reader);
	uint64_t size = read_uleb(reader);
	const uint8_t *end = reader->at + size;
	bool is_at_bp = size == 2 && reader->at[0] == OP_BREG0 + REG_BP &&
			reader->at[1] == 0;

	put(row, number, is_at_bp && number == REG_BP ? AT_POINTER : ELSEWHERE,
	    0);
	reader->at = end;
}

static void restore(struct row *row, const struct row *initial, uint64_t number)
{
	if (number == REG_BP)
		row->bp = initial->bp;
	else if (number == REG_RA)
		row->ra = initial->ra;
}

/* Carry one instruction out that does not move the location. */
static bool execute(struct reader *reader, uint8_t code, const struct cie *cie,
		    struct row *row, const struct row *initial)
{
	uint64_t number;

	switch (code) {
	case CFA_NOP:
	case CFA_NEGATE_RA_STATE:
		break;
	case CFA_OFFSET_EXTENDED:
		number = read_uleb(reader);
		put(row, number, AT_OFFSET,
		    (int64_t)read_uleb(reader) * cie->data_factor);
		break;
	case CFA_OFFSET_EXTENDED_SF:
		number = read_uleb(reader);
		put(row, number, AT_OFFSET,
		    read_sleb(reader) * cie->data_factor);
		break;
	case CFA_RESTORE_EXTENDED:
		restore(row, initial, read_uleb(reader));
		break;
	case CFA_UNDEFINED:
		put(row, read_uleb(reader), UNDEFINED, 0);
		break;
	case CFA_SAME_VALUE:
		put(row, read_uleb(reader), UNCHANGED, 0);
		break;
	case CFA_REGISTER:
		put(row, read_uleb(reader), ELSEWHERE, 0);
		read_uleb(reader);
		break;
	case CFA_DEF_CFA:
		row->cfa_register = read_uleb(reader);
		row->cfa_offset = (int64_t)read_uleb(reader);
		row->is_expression = false;
		break;
	case CFA_DEF_CFA_SF:
		row->cfa_register = read_uleb(reader);
		row->cfa_offset = read_sleb(reader) * cie->data_factor;
		row->is_expression = false;
		break;
	case CFA_DEF_CFA_REGISTER:
		row->cfa_register = read_uleb(reader);
		row->is_expression = false;
		break;
	case CFA_DEF_CFA_OFFSET:
		row->cfa_offset = (int64_t)read_uleb(reader);
		break;
	case CFA_DEF_CFA_OFFSET_SF:
		row->cfa_offset = read_sleb(reader) * cie->data_factor;
		break;
	case CFA_DEF_CFA_EXPRESSION:
		define_by_expression(reader, row);
		break;
	case CFA_EXPRESSION:
		put_by_expression(reader, row);
		break;
	case CFA_VAL_EXPRESSION:
		put(row, read_uleb(reader), ELSEWHERE, 0);
		number = read_uleb(reader);
		reader->at += number;
		break;
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF:
		put(row, read_uleb(reader), ELSEWHERE, 0);
		read_uleb(reader);
		break;
	case CFA_GNU_ARGS_SIZE:
		read_uleb(reader);
		break;
	default:
		return false;
	}
	return true;
}

/* How far an instruction moves the location; false if it does not. */
static bool advance(struct reader *reader, uint8_t code, const struct cie *cie,
		    uintptr_t *location)
{
	switch (code) {
	case CFA_SET_LOC:
		*location = read_pointer(reader, cie->encoding);
		return true;
	case CFA_ADVANCE_LOC1:
		*location += read_bytes(reader, 1) * cie->code_factor;
		return true;
	case CFA_ADVANCE_LOC2:
		*location += read_bytes(reader, 2) * cie->code_factor;
		return true;
	case CFA_ADVANCE_LOC4:
		*location += read_bytes(reader, 4) * cie->code_factor;
		return true;
	default:
		if ((code & 0xc0) != CFA_ADVANCE_LOC)
			return false;
		*location += (code & 0x3f) * cie->code_factor;
		return true;
	}
}

/* Carry `program` out up to the row of `pc`; `initial` is NULL in a CIE. */
static bool run(struct reader program, const struct cie *cie,
		uintptr_t location, uintptr_t pc, struct row *row,
		const struct row *initial)
{
	struct row remembered[MAX_REMEMBERED];
	unsigned int n_remembered = 0;

	while (program.at < program.end) {
		uint8_t code = *program.at++;

		if (advance(&program, code, cie, &location)) {
			if (location > pc)
				return true;
		} else if ((code & 0xc0) == CFA_OFFSET) {
			put(row, code & 0x3f, AT_OFFSET,
			    (int64_t)read_uleb(&program) * cie->data_factor);
		} else if ((code & 0xc0) == CFA_RESTORE) {
			restore(row, initial ? initial : row, code & 0x3f);
		} else if (code == CFA_REMEMBER_STATE) {
			if (n_remembered == MAX_REMEMBERED)
				return false;
			remembered[n_remembered++] = *row;
		} else if (code == CFA_RESTORE_STATE) {
			if (n_remembered == 0)
				return false;
			*row = remembered[--n_remembered];
		} else if (!execute(&program, code, cie, row,
				    initial ? initial : row)) {
			return false;
		}
	}
	return true;
}

static bool is_small(int64_t offset)
{
	return offset > SAVED_AT_BP && offset <= INT16_MAX;
}

/* Put what a row says into a rule; false where a walk cannot follow it. */
static bool as_rule(const struct row *row, struct cfi_rule *rule)
{
	*rule = (struct cfi_rule){(int32_t)row->cfa_offset, NOT_SAVED,
				  NOT_SAVED, STEP_END};
	if (row->ra.where == UNDEFINED)
		return true;
	if (row->cfa_offset != rule->frame || row->ra.where == ELSEWHERE ||
	    row->bp.where == ELSEWHERE)
		return false;
	if (row->is_expression && !row->is_saved)
		return false;
	if (row->is_expression)
		rule->step = STEP_BY_SAVED;
	else if (row->cfa_register == REG_SP)
		rule->step = STEP_BY_SP;
	else if (row->cfa_register == REG_BP)
		rule->step = STEP_BY_BP;
	else
		return false;
	if (row->ra.where == AT_OFFSET) {
		if (!is_small(row->ra.offset))
			return false;
		rule->return_address = (int16_t)row->ra.offset;
	}
	if (row->bp.where == AT_OFFSET) {
		if (!is_small(row->bp.offset))
			return false;
		rule->bp = (int16_t)row->bp.offset;
	}
	if (row->bp.where == AT_POINTER)
		rule->bp = SAVED_AT_BP;
	return true;
}

/* The description of the function that holds `pc`, by the sorted table. */
static const uint8_t *find_fde(const uint8_t *table, uintptr_t pc)
{
	struct reader reader = {table + 4, table + 64};
	uint32_t low = 0, high;
	const int32_t *rows;

	if (table[0] != 1 || table[1] == ENCODED_OMIT ||
	    table[3] != TABLE_ENCODING)
		return NULL;
	read_pointer(&reader, table[1]);
	high = (uint32_t)read_pointer(&reader, table[2]);
	rows = (const void *)reader.at;
	if (high == 0 || pc < (uintptr_t)table + (intptr_t)rows[0])
		return NULL;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if ((uintptr_t)table + (intptr_t)rows[2 * middle] <= pc)
			low = middle;
		else
			high = middle;
	}
	return table + rows[2 * low + 1];
}

static bool rule_of(const uint8_t *fde, uintptr_t pc, struct cfi_rule *rule)
{
	struct row row = {0}, initial;
	struct reader reader;
	uintptr_t start, size;
	const uint8_t *cie_field;
	struct cie cie;
	uint32_t distance;

	if (!enter(fde, &reader))
		return false;
	cie_field = reader.at;
	distance = (uint32_t)read_bytes(&reader, 4);
	if (distance == 0 || !read_cie(cie_field - distance, &cie))
		return false;
	start = read_pointer(&reader, cie.encoding);
	size = read_pointer(&reader, cie.encoding & ENCODED_FORM);
	if (pc < start || pc - start >= size)
		return false;
	if (cie.is_signal) {
		*rule = (struct cfi_rule){.step = STEP_SIGNAL};
		return true;
	}
	if (cie.has_augmentation)
		reader.at = read_uleb(&reader) + reader.at;
	if (!run(cie.program, &cie, start, UINTPTR_MAX, &row, NULL))
		return false;
	initial = row;
	return run(reader, &cie, start, pc, &row, &initial) &&
	       as_rule(&row, rule);
}

/* Objects, where the C library has no way to be asked for them at any time. */
static struct object {
	uintptr_t start;
	uintptr_t end;
	const uint8_t *table;
} objects[MAX_OBJECTS];
static uint32_t n_objects;

static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
	const struct program_header *headers = info->headers;
	struct object object = {UINTPTR_MAX, 0, NULL};
	uint32_t *count = data;

	(void)size;
	for (int i = 0; i < info->n_headers; i++) {
		uintptr_t start = info->address + headers[i].address;
		uintptr_t end = start + headers[i].memory_bytes;

		if (headers[i].type == PT_GNU_EH_FRAME)
			object.table = (const uint8_t *)start;
		if (headers[i].type != PT_LOAD)
			continue;
		object.start = start < object.start ? start : object.start;
		object.end = end > object.end ? end : object.end;
	}
	if (*count < MAX_OBJECTS)
		objects[(*count)++] = object;
	return 0;
}

void cfi_note_objects(void)
{
	uint32_t count = 0;

	if (_dl_find_object)
		return;
	/* Nobody finds one that is half written. */
	WRITE_RELEASE(n_objects, 0);
	dl_iterate_phdr(note_object, &count);
	WRITE_RELEASE(n_objects, count);
}

static const uint8_t *table_of(uintptr_t pc)
{
	struct dl_find_object found;
	uint32_t count;

	if (_dl_find_object)
		return _dl_find_object((void *)pc, &found) ? NULL
							   : found.eh_frame;
	count = READ_ACQUIRE(n_objects);
	for (uint32_t i = 0; i < count; i++) {
		if (pc >= objects[i].start && pc < objects[i].end)
			return objects[i].table;
	}
	return NULL;
}

bool cfi_find(uintptr_t pc, struct cfi_rule *rule)
{
	const uint8_t *table = table_of(pc);
	const uint8_t *fde = table ? find_fde(table, pc) : NULL;

	return fde && rule_of(fde, pc, rule);
}
