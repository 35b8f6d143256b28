/*
 * Servers in C++ whose truth is known: SHAPE N, a nap of 5 ms after each request.
 *
 * vector: a std::vector that grows; map: a std::map that grows, one node in every
 * request; lru: the latest 150 of them.
 */
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

struct item {
	char content[96];
};

static std::vector<item> list;
static std::map<int, item> table;

[[gnu::noinline]] static void keep(const char *shape, int request)
{
	if (!std::strcmp(shape, "vector"))
		list.push_back(item{});
	else
		table[request] = item{};
	if (!std::strcmp(shape, "lru") && table.size() > 150)
		table.erase(table.begin());
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? std::atoi(argv[2]) : 1000;

	for (int request = 0; request < n; request++) {
		std::string text(100 + request % 900, 'x');

		keep(argv[1], request);
		std::this_thread::sleep_for(std::chrono::milliseconds(5));
	}
}
