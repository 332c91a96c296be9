// Three pages, one after the other: the program waits for each, and does nothing meanwhile.
// Look at the time: three times 0.3 s.
#include "examples/asyncio_nous/tinysite.hpp"

int main() {
  TinySite site;
  measure([&] {
    for (std::string path : {"/one", "/two", "/three"}) std::cout << download(site.port, path);
  });
}
