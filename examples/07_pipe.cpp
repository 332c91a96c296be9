// add_reader: the loop asks the kernel which descriptors are ready, and calls whoever waits for them.
// Look at the reads: while bytes are left in the pipe, every iteration calls the reader again.
#include <unistd.h>

#include <iostream>
#include <string_view>
#include <vector>

#include "asyncio.hpp"

int main() {
  asyncio::EventLoop loop;
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const int read_end = ends[0], write_end = ends[1];

  std::vector<std::string_view> texts = {"bye", "hello, event loop"};  // the next one is the last
  const auto write_more = [&] {
    if (texts.empty()) return static_cast<void>(::close(write_end));
    const std::string_view text = texts.back();
    texts.pop_back();
    std::cout << "writer: \"" << text << "\"\n";
    if (::write(write_end, text.data(), text.size()) < 0) std::cout << "writer: failed\n";
  };
  const auto on_readable = [&] {
    char data[6];
    const auto n = ::read(read_end, data, sizeof data);
    if (n > 0) {
      std::cout << "reader: \"" << std::string_view(data, n) << "\"\n";
      if (n < 6) loop.call_later(0.1, write_more);  // the pipe is empty
    } else {
      std::cout << "reader: nothing, which means the end: the other side was closed\n";
      loop.remove_reader(read_end);
      loop.stop();
    }
  };

  loop.add_reader(read_end, on_readable);
  loop.call_later(0.1, write_more);
  std::cout << "main: a reader that takes 6 bytes at a time\n";

  loop.run_forever();
  loop.close();
  ::close(read_end);
}
