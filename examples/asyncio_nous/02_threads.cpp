// Three pages, each in a thread: the kernel lets another one run while one waits.
// Look at the time: 0.3 s, or a little more. And at the price: a stack for every page, and a lock for whatever two threads
// share; here join() does.
#include <vector>

#include "examples/asyncio_nous/tinysite.hpp"

int main() {
  TinySite site;
  measure([&] {
    std::vector<std::string> pages(3);
    std::vector<std::thread> threads;
    const std::vector<std::string> paths = {"/one", "/two", "/three"};
    for (std::size_t i = 0; i < paths.size(); ++i) {
      threads.emplace_back([&, i] { pages[i] = download(site.port, paths[i]); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& page : pages) std::cout << page;
  });
}
