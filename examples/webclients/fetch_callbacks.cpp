// One thread, and callbacks: whoever waits for the network leaves the loop a function to go on with.
// Look at Fetcher: what was one function in fetch_sync is torn into three, and its variables have become members.
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "examples/webclients/site.hpp"

class Fetcher {
 public:
  Fetcher(asyncio::EventLoop& loop, int port, std::string path, std::function<void()> done)
      : journey(path), loop_(loop), port_(port), done_(done) {}

  void start() {
    const asyncio::SocketAddress address("127.0.0.1", port_);
    raw_.clear();
    sock_ = asyncio::make_socket(AF_INET, SOCK_STREAM);
    ::connect(sock_.get(), address.data(), address.size());  // says that it is in progress
    loop_.add_writer(sock_.get(), &Fetcher::on_connected, this);
  }

  web::Journey journey;

 private:
  void on_connected() {
    const std::string text = web::request(journey.path());
    loop_.remove_writer(sock_.get());
    ::send(sock_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    loop_.add_reader(sock_.get(), &Fetcher::on_readable, this);
  }

  void on_readable() {
    char data[4096];
    const ssize_t n = ::recv(sock_.get(), data, sizeof data, 0);
    if (n < 0 && asyncio::would_block()) return;
    if (n > 0) raw_.append(data, n);
    if (n > 0 && raw_.size() <= web::MAX_ANSWER) return;
    loop_.remove_reader(sock_.get());
    sock_ = asyncio::FileDescriptor();
    if (journey.arrive(raw_)) {
      done_();
    } else {
      start();
    }
  }

  asyncio::EventLoop& loop_;
  int port_;
  std::function<void()> done_;
  asyncio::FileDescriptor sock_;
  std::string raw_;
};

int main() {
  web::Site site;
  asyncio::EventLoop loop;
  std::vector<std::unique_ptr<Fetcher>> fetchers;
  std::size_t left = web::URLS.size();
  const auto done = [&] {
    if (--left == 0) loop.stop();
  };
  for (const std::string& path : web::URLS) {
    fetchers.push_back(std::make_unique<Fetcher>(loop, site.port(), path, done));
    fetchers.back()->start();
  }
  loop.run_forever();
  loop.close();
  for (const auto& fetcher : fetchers) std::cout << fetcher->journey.report() << "\n";
  std::cout << "slow pages at once: " << site.most_at_once() << "\n";
}
