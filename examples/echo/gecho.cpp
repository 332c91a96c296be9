// An echo server of green threads: each has a stack of its own, and code that looks as if it blocked.
// Look at wait(): it leaves a green thread's stack for the loop's until the future is done. It can do so from within any
// function, also one that knows nothing of it: no co_await, no Coroutine in echo() and serve(), but 64 KiB for each client.
#include <ucontext.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "asyncio.hpp"
#include "examples/echo/echo.hpp"

asyncio::EventLoop loop;

struct GreenThread {
  ucontext_t context, loop_context;
  std::unique_ptr<char[]> stack{new char[65536]};
  std::function<void()> body;
  bool finished = false;
};

GreenThread* current = nullptr;  // null: the loop's own stack

void switch_to(GreenThread* thread) {
  current = thread;
  ::swapcontext(&thread->loop_context, &thread->context);
  current = nullptr;
  if (thread->finished) delete thread;
}

void start() {
  current->body();
  current->finished = true;
  ::setcontext(&current->loop_context);  // for ever
}

void spawn(std::function<void()> body) {
  auto* thread = new GreenThread;
  thread->body = std::move(body);
  ::getcontext(&thread->context);
  thread->context.uc_stack.ss_sp = thread->stack.get();
  thread->context.uc_stack.ss_size = 65536;
  ::makecontext(&thread->context, start, 0);
  loop.call_soon(switch_to, thread);
}

/// The result of a coroutine, in a function that is none.
template <class T> T wait(asyncio::Coroutine<T> coroutine) {
  asyncio::Task<T> task(std::move(coroutine), loop, {.eager_start = true});  // most are done at once
  if (!task.done()) {
    GreenThread* thread = current;
    task.add_done_callback([thread](asyncio::Future<T>) { switch_to(thread); });
    ::swapcontext(&thread->context, &thread->loop_context);
  }
  return task.take_result();
}

void echo(int client, asyncio::SocketAddress address) {
  say("Connection from ", address.str());
  try {
    for (;;) {
      std::string data = wait(loop.sock_recv(client, 10000));
      if (data.empty()) break;
      say("Got: ", data);
      wait(loop.sock_sendall(client, data));
    }
  } catch (const asyncio::OSError&) {  // the client has gone without a word
  }
  ::close(client);
  say("Connection closed");
}

void serve(int server) {
  for (;;) {
    try {
      const auto [client, address] = wait(loop.sock_accept(server));
      spawn([client = client, address = address] { echo(client, address); });
    } catch (const asyncio::OSError& error) {
      if (program::out_of_descriptors(error.code().value())) wait(asyncio::sleep(1));
    }
  }
}

void serve_until_signal(const program::Arguments& arguments) {
  quiet = arguments.given(1);
  program::end_on_signals();
  const int server = create_server(arguments.port(PORT));
  spawn([server] { serve(server); });
  loop.run_forever();
}

int main(int argc, char** argv) { return program::run(argc, argv, USAGE, serve_until_signal); }
