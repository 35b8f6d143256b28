// Exceptions that pass through an allocator: the program catches them all, says how many, and goes on.
//
//	throwing ROUNDS plain    operator new throws std::bad_alloc
//	throwing ROUNDS handler  a std::new_handler throws something else
//	throwing ROUNDS walker   that handler walks the stack first, up to main()
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <unwind.h>

#ifdef MUSL
#include <dlfcn.h>
#include <link.h>

/* What libgcc, built for glibc, asks of it: the unwind rules of the object around an address. */
extern "C" int _dl_find_object(void *address, dl_find_object *found) noexcept
{
	found->dlfo_map_start = address;
	auto look = [](dl_phdr_info *info, std::size_t, void *data) {
		auto *found = static_cast<dl_find_object *>(data);
		auto address = reinterpret_cast<std::size_t>(found->dlfo_map_start);
		void *rules = nullptr;
		bool is_inside = false;
		for (int i = 0; i < info->dlpi_phnum; i++) {
			const ElfW(Phdr) &header = info->dlpi_phdr[i];
			is_inside |= header.p_type == PT_LOAD &&
				     address - info->dlpi_addr - header.p_vaddr < header.p_memsz;
			if (header.p_type == PT_GNU_EH_FRAME)
				rules = reinterpret_cast<void *>(info->dlpi_addr + header.p_vaddr);
		}
		found->dlfo_eh_frame = rules;
		return int{is_inside};
	};
	return dl_iterate_phdr(look, found) ? 0 : -1;
}

void *operator new(std::size_t size)
{
	for (;;) {
		if (void *block = malloc(size))
			return block;
		if (!std::get_new_handler())
			throw std::bad_alloc();
		std::get_new_handler()();
	}
}

void operator delete(void *block) noexcept { free(block); }
void operator delete(void *block, std::size_t) noexcept { free(block); }
void *operator new(std::size_t size, std::align_val_t) { return operator new(size); }
void operator delete(void *block, std::align_val_t) noexcept { free(block); }
void *operator new(std::size_t size, const std::nothrow_t &) noexcept
{
	try {
		return operator new(size);
	} catch (...) {
		return nullptr;
	}
}
#endif

namespace {

struct Refused {
};

volatile std::size_t huge = std::size_t{1} << 62;
void *volatile sink;
long caught, refused, null, frames;

_Unwind_Reason_Code count_frame(_Unwind_Context *context, void *reached_main)
{
	frames++;
	if (_Unwind_FindEnclosingFunction(reinterpret_cast<void *>(_Unwind_GetIP(context))) == reached_main)
		frames += 1000;
	return _URC_NO_REASON;
}

void walk();

void refuse() { throw Refused(); }

void walk_and_refuse()
{
	walk();
	throw Refused();
}

template <typename Allocate> void expect_failure(Allocate allocate)
{
	try {
		sink = allocate();
		null += sink == nullptr;
	} catch (const std::bad_alloc &) {
		caught++;
	} catch (const Refused &) {
		refused++;
	}
}

void fail_in_every_form()
{
	expect_failure([] { return operator new(huge); });
	expect_failure([] { return operator new[](huge); });
	expect_failure([] { return operator new(huge, std::align_val_t{64}); });
	/* Only std::bad_alloc may be thrown inside of one that does not throw. */
	if (!std::get_new_handler())
		expect_failure([] { return operator new(huge, std::nothrow); });
}

void succeed_in_every_form()
{
	operator delete(operator new(3011));
	operator delete[](operator new[](3019));
	operator delete(operator new(3023, std::nothrow), std::nothrow);
	operator delete(operator new(3037), std::size_t{3037});
	operator delete(operator new(3136, std::align_val_t{64}), std::align_val_t{64});
}

} // namespace

int main(int, char **arguments)
{
	if (!strcmp(arguments[2], "handler"))
		std::set_new_handler(refuse);
	if (!strcmp(arguments[2], "walker"))
		std::set_new_handler(walk_and_refuse);
	for (long round = atol(arguments[1]); round > 0; round--) {
		succeed_in_every_form();
		fail_in_every_form();
	}
	printf("bad_alloc %ld, of the handler %ld, null %ld, walked %ld\n", caught, refused, null, frames);
	return 7;
}

namespace {

void walk() { _Unwind_Backtrace(count_frame, reinterpret_cast<void *>(main)); }

} // namespace
