// Broken on purpose: a reader is called because there is something to read, and does not read it.
#include <unistd.h>

#include <iostream>

#include "asyncio.hpp"

int main() {
  int ends[2];
  if (pipe(ends) != 0) return 1;
  asyncio::EventLoop loop;
  int calls = 0;
  loop.add_reader(ends[0], [&] {
    if (++calls < 50) return;  // read() is missing: the selector will report the descriptor again, at once
    std::cout << "called " << calls << " times for the same 5 bytes\n";
    loop.remove_reader(ends[0]);
    loop.stop();
  });
  if (write(ends[1], "hello", 5) != 5) return 1;
  loop.run_forever();
}
