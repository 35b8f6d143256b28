// A call of malloc inside inlined functions, a template, and a class in a namespace.
#include <cstdlib>

static void *volatile kept;
static volatile int others;

static inline __attribute__((always_inline)) void keep(size_t size_bytes)
{
	kept = malloc(size_bytes);
}

template <class Number> __attribute__((noinline)) void store(Number size_bytes)
{
	keep(size_bytes);
	others = others + 1;
}

namespace shop {
struct Box {
	inline __attribute__((always_inline)) void fill(int size_bytes)
	{
		store<int>(size_bytes);
		others = others + 2;
	}
	__attribute__((noinline)) void add(int size_bytes)
	{
		fill(size_bytes);
		others = others + 3;
	}
};
}

int main()
{
	shop::Box box;
	box.add(6100);
	others = others + 4;
	return 0;
}
