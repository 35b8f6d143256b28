/*
 * Servers in C++ whose truth is known: SHAPE N, a nap of 5 ms after each request.
 *
 * vector: a std::vector that grows; map: a std::map that grows, one node in every
 * request; lru: the latest 150 of them; hash: a std::unordered_map that grows; cycle: a
 * std::shared_ptr in every request that refers to itself; deque: a std::deque that is
 * emptied as it is filled; pool: 4 MiB at once, and parts of it.
 */
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct item {
	char content[96];
};

static std::vector<item> list;
static std::map<int, item> table;
static std::unordered_map<int, item> hashed;
static std::deque<item> fifo;

struct node {
	item content;
	std::shared_ptr<node> self;
};

[[gnu::noinline]] static void keep(const char *shape, int request)
{
	if (!std::strcmp(shape, "vector"))
		list.push_back(item{});
	else if (!std::strcmp(shape, "hash"))
		hashed[request] = item{};
	else if (!std::strcmp(shape, "cycle")) {
		auto made = std::make_shared<node>();

		made->self = made;
	} else if (!std::strcmp(shape, "deque")) {
		fifo.push_back(item{});
		if (fifo.size() > 100)
			fifo.pop_front();
	} else if (!std::strcmp(shape, "pool")) {
		if (request == 100)
			list.reserve(1 << 15);
		if (request > 100)
			list.push_back(item{});
	} else
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
