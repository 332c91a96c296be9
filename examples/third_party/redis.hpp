// The adapter between hiredis and the loop: a library that calls back when it wants to read or write.
//
// The contract. hiredis owns the descriptor and closes it; before that it calls `cleanup`, and the loop forgets it. It
// asks for reading once, and for writing at every command: the loop is asked only when something changes. Replies come
// in the order of the commands, and hiredis keeps a callback for each, so a cancelled await leaves the connection in
// step: the reply comes, and nobody takes it. When the connection is lost, hiredis calls every callback without a
// reply. The Connection must end before its loop, because its end is a call of the loop's.
#pragma once

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "asyncio.hpp"

namespace redis {

/// The server answered with an error, such as WRONGTYPE.
struct ResponseError : asyncio::Error {
  using asyncio::Error::Error;
};
/// There is no connection, or it was lost before the reply.
struct ConnectionError : asyncio::Error {
  using asyncio::Error::Error;
};

struct Reply {
  explicit Reply(const redisReply& reply)
      : is_nil(reply.type == REDIS_REPLY_NIL), integer(reply.integer), text(reply.str ? reply.str : "", reply.len) {
    for (std::size_t i = 0; reply.type == REDIS_REPLY_ARRAY && i < reply.elements; ++i) {
      elements.emplace_back(*reply.element[i]);
    }
  }
  bool is_nil;
  long long integer;
  std::string text;
  std::vector<Reply> elements;
};

class Connection {
 public:
  /// Begins to connect. ConnectionError if not even that is possible.
  explicit Connection(int port) : loop_(asyncio::get_running_loop()), context_(redisAsyncConnect("127.0.0.1", port)) {
    if (!context_ || context_->err) {
      const std::string why = context_ ? context_->errstr : "out of memory";
      if (context_) redisAsyncFree(context_);
      throw ConnectionError(why);
    }
    context_->data = this;
    context_->ev = {this, add_read, del_read, add_write, del_write, cleanup};
    redisAsyncSetConnectCallback(context_, on_connect);
    redisAsyncSetDisconnectCallback(context_, [](const redisAsyncContext* c, int) { of(c->data).context_ = nullptr; });
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (context_) redisAsyncFree(context_);
  }

  /// Done when the connection stands; ConnectionError if that fails.
  asyncio::Future<> connected() const { return connected_; }

  /// Sends the command at once; several can be under way. ResponseError, ConnectionError.
  asyncio::Future<Reply> command(const std::vector<std::string>& words) {
    if (!context_) throw ConnectionError("not connected");
    std::vector<const char*> arguments;
    std::vector<std::size_t> lengths;
    for (const std::string& word : words) arguments.push_back(word.data()), lengths.push_back(word.size());
    auto future = std::make_unique<asyncio::Future<Reply>>(loop_);
    asyncio::Future<Reply> result = *future;
    const int count = static_cast<int>(words.size());
    const int sent = redisAsyncCommandArgv(context_, on_reply, future.get(), count, arguments.data(), lengths.data());
    if (sent != REDIS_OK) throw ConnectionError("not connected");
    static_cast<void>(future.release());  // on_reply takes it back
    return result;
  }

 private:
  static Connection& of(void* self) { return *static_cast<Connection*>(self); }

  static void add_read(void* self) { of(self).watch(selectors::EVENT_READ); }
  static void add_write(void* self) { of(self).watch(selectors::EVENT_WRITE); }
  static void del_read(void* self) { of(self).forget(selectors::EVENT_READ); }
  static void del_write(void* self) { of(self).forget(selectors::EVENT_WRITE); }
  static void cleanup(void* self) { del_read(self), del_write(self); }

  void watch(unsigned event) {
    if (watched_ & event) return;
    watched_ |= event;
    event == selectors::EVENT_READ ? loop_.add_reader(fd_, redisAsyncHandleRead, context_)
                                   : loop_.add_writer(fd_, redisAsyncHandleWrite, context_);
  }
  void forget(unsigned event) {
    if (!(watched_ & event)) return;
    watched_ &= ~event;
    event == selectors::EVENT_READ ? loop_.remove_reader(fd_) : loop_.remove_writer(fd_);
  }

  static void on_connect(const redisAsyncContext* context, int status) {
    Connection& self = of(context->data);
    if (status != REDIS_OK) self.context_ = nullptr;  // hiredis frees it after this call
    if (self.connected_.done()) return;
    status == REDIS_OK ? self.connected_.set_result() : self.connected_.set_exception(ConnectionError(context->errstr));
  }

  static void on_reply(redisAsyncContext* context, void* reply, void* data) {
    const std::unique_ptr<asyncio::Future<Reply>> future(static_cast<asyncio::Future<Reply>*>(data));
    const auto* const answer = static_cast<const redisReply*>(reply);
    if (future->done()) return;  // it was cancelled
    if (!answer) {
      future->set_exception(ConnectionError(context->err ? context->errstr : "closed"));
    } else if (answer->type == REDIS_REPLY_ERROR) {
      future->set_exception(ResponseError(answer->str));
    } else {
      future->set_result(Reply(*answer));
    }
  }

  asyncio::EventLoop& loop_;
  redisAsyncContext* context_;  // null once it is lost; hiredis frees it then
  const int fd_ = context_->c.fd;
  asyncio::Future<> connected_{loop_};
  unsigned watched_ = 0;
};

}  // namespace redis
