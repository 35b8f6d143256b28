// Throws through a caller's function.
#include <stdexcept>
#include <string>
#include <vector>

void through(void (*callback)(int), int depth)
{
	std::vector<std::string> cleaned_up(5, std::string(100, 'x'));
	if (depth == 0)
		throw std::runtime_error("from a library " + std::string(50, 'y'));
	callback(depth - 1);
}
