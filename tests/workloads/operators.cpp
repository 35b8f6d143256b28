// Every form of operator new and delete, so many times.
#include <cstdlib>
#include <new>

int main(int, char **arguments)
{
	for (long round = atol(arguments[1]); round > 0; round--) {
		operator delete(operator new(3011));
		operator delete[](operator new[](3019));
		operator delete(operator new(3023, std::nothrow), std::nothrow);
		operator delete(operator new(3037), std::size_t{3037});
		operator delete(operator new(3136, std::align_val_t{64}), std::align_val_t{64});
	}
}
