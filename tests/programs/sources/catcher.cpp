// Catches what a library throws, through frames of both, in threads and destructors.
#include <cstdio>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

void through(void (*callback)(int), int depth);

static void callback(int depth)
{
	auto cleaned_up = std::make_unique<char[]>(1000 + depth);
	through(callback, depth);
}

static int caught_in_a_thread()
{
	int caught = 0;
	for (int i = 0; i < 50; i++) {
		try {
			callback(i % 12);
		} catch (const std::runtime_error &error) {
			caught++;
		}
		try {
			std::vector<char> huge;
			huge.reserve(std::size_t{1} << 60);
		} catch (const std::bad_alloc &) {
			caught++;
		}
	}
	return caught;
}

int main()
{
	int caught[4] = {};
	std::vector<std::thread> threads;
	for (int &each : caught)
		threads.emplace_back([&each] { each = caught_in_a_thread(); });
	for (auto &thread : threads)
		thread.join();
	std::printf("%d %d %d %d\n", caught[0], caught[1], caught[2], caught[3]);
	return 16;
}
