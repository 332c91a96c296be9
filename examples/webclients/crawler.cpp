// Follows the links of the whole site, with three workers and a queue: the
// crawler of "500 Lines or Less", small. Look at add_url and join(): every page is queued once, and when every queued
// page is done there is nothing left to find. Redirects go through the queue too, and carry how many more may follow.
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "examples/webclients/site.hpp"

asyncio::Coroutine<std::string> get(int port, std::string path) {
  auto [reader, writer] = co_await asyncio::open_connection("127.0.0.1", port);
  writer.write(web::request(path));
  std::string raw;
  for (std::string data = "?"; !data.empty() && raw.size() <= web::MAX_ANSWER;) {
    data = co_await reader.read(4096);
    raw += data;
  }
  writer.close();
  co_return raw;
}

std::vector<std::string> parse_links(std::string body) {
  std::vector<std::string> links;
  for (std::size_t at = body.find("href=\""); at != body.npos; at = body.find("href=\"", at + 1))
    links.push_back(web::between(body.substr(at), "\"", "\""));
  return links;
}

struct Item {
  std::string path;
  int max_redirect;
};

class Crawler {
 public:
  explicit Crawler(int port) : port_(port) {}

  asyncio::Coroutine<std::map<std::string, std::string>> crawl() {
    add_url("/", web::MAX_REDIRECTS);
    std::vector<asyncio::Task<>> workers;
    for (int i = 0; i < 3; ++i) workers.push_back(asyncio::create_task(work()));
    co_await queue_.join();
    for (asyncio::Task<> worker : workers) worker.cancel();
    co_await asyncio::wait(workers);  // they refer to this crawler: it has to stay until they have ended
    co_return std::move(reports_);
  }

 private:
  asyncio::Coroutine<> work() {
    for (;;) {
      const Item item = co_await queue_.get();
      const std::string raw = co_await get(port_, item.path);
      reports_[item.path] = report(item, web::parse(raw));
      queue_.task_done();
    }
  }

  std::string report(Item item, web::Answer answer) {
    if (!answer.problem.empty()) return answer.problem;
    if (!answer.location.empty()) {
      if (item.max_redirect == 0) return "too many redirects";
      add_url(answer.location, item.max_redirect - 1);
      return "goes to " + answer.location;
    }
    const std::vector<std::string> links = parse_links(answer.body);
    for (const std::string& link : links) add_url(link, web::MAX_REDIRECTS);
    return answer.status + ", " + std::to_string(links.size()) + " links";
  }

  // Of this site, and only once.
  void add_url(std::string path, int max_redirect) {
    if (path.starts_with("/") && seen_.insert(path).second) queue_.put_nowait(Item{path, max_redirect});
  }

  int port_;
  asyncio::Queue<Item> queue_;
  std::set<std::string> seen_;
  std::map<std::string, std::string> reports_;
};

asyncio::Coroutine<> crawl(int port) {
  Crawler crawler(port);
  const std::map<std::string, std::string> reports = co_await crawler.crawl();
  for (const auto& [path, report] : reports) std::cout << path << ": " << report << "\n";
}

int main() {
  web::Site site;
  asyncio::run(crawl(site.port()));
}
