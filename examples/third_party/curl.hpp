// The adapter between libcurl and the loop: many sockets, and one timer. libcurl calls it the multi interface.
//
// The contract. libcurl owns the descriptors; for each it says what it waits for, and CURL_POLL_REMOVE before it closes
// it. There is one timer for everything: a new time replaces the old one. A cancelled await takes its transfer out of
// the Multi, which closes that connection in the middle; a transfer that ended well leaves its connection for the next
// one. The Multi must outlive its transfers, and end before its loop.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "asyncio.hpp"

namespace curl {

/// The transfer failed; what() is libcurl's text for the code.
class CurlError : public asyncio::Error {
 public:
  explicit CurlError(CURLcode code) : Error(curl_easy_strerror(code)), code_(code) {}
  CURLcode code() const { return code_; }

 private:
  CURLcode code_;
};

struct Response {
  long status = 0;
  std::string body;
};

class Multi {
 public:
  Multi() : loop_(asyncio::get_running_loop()), multi_(curl_multi_init(), curl_multi_cleanup) {
    if (!multi_) throw std::bad_alloc();
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
  }
  Multi(const Multi&) = delete;
  Multi& operator=(const Multi&) = delete;
  ~Multi() {
    multi_.reset();
    timer_.cancel();
  }

  /// Follows at most five redirects. CurlError.
  asyncio::Coroutine<Response> get(std::string url) {
    Transfer transfer(loop_);
    CURL* const easy = transfer.easy.get();
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer.response.body);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_multi_add_handle(multi_.get(), easy);
    const asyncio::Finally remove([&] { curl_multi_remove_handle(multi_.get(), easy); });
    const CURLcode code = co_await transfer.done;
    if (code != CURLE_OK) throw CurlError(code);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &transfer.response.status);
    co_return std::move(transfer.response);
  }

 private:
  struct Transfer {
    explicit Transfer(asyncio::EventLoop& loop) : done(loop), easy(curl_easy_init(), curl_easy_cleanup) {}
    asyncio::Future<CURLcode> done;
    std::unique_ptr<CURL, void (*)(CURL*)> easy;
    Response response;
  };

  static int on_socket(CURL*, curl_socket_t fd, int what, void* data, void*) {
    Multi& self = *static_cast<Multi*>(data);
    int& before = self.interests_[fd];
    const int now = what == CURL_POLL_REMOVE ? CURL_POLL_NONE : what;
    const int added = now & ~before, removed = before & ~now;
    before = now;
    if (removed & CURL_POLL_IN) self.loop_.remove_reader(fd);
    if (removed & CURL_POLL_OUT) self.loop_.remove_writer(fd);
    if (added & CURL_POLL_IN) self.loop_.add_reader(fd, [&self, fd] { self.act(fd, CURL_CSELECT_IN); });
    if (added & CURL_POLL_OUT) self.loop_.add_writer(fd, [&self, fd] { self.act(fd, CURL_CSELECT_OUT); });
    return 0;
  }

  static int on_timer(CURLM*, long milliseconds, void* data) {
    Multi& self = *static_cast<Multi*>(data);
    self.timer_.cancel();
    if (milliseconds >= 0) {  // never at once: libcurl must not be called from its own callback
      self.timer_ = self.loop_.call_later(milliseconds / 1e3, [&self] { self.act(CURL_SOCKET_TIMEOUT, 0); });
    }
    return 0;
  }

  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* data) {
    static_cast<std::string*>(data)->append(bytes, size * count);
    return size * count;
  }

  void act(curl_socket_t fd, int events) {
    int running = 0, left = 0;
    curl_multi_socket_action(multi_.get(), fd, events, &running);
    while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      if (!transfer->done.done()) transfer->done.set_result(message->data.result);
    }
  }

  asyncio::EventLoop& loop_;
  std::unordered_map<curl_socket_t, int> interests_;  // before multi_, whose end changes it
  asyncio::TimerHandle timer_;
  std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi_;
};

}  // namespace curl
