// What there is to know of a program in C++: where its code lies, what it prints, how it ends.
#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <streambuf>
#include <utility>

#include "examples/study/tasks.hpp"

namespace study {
namespace {

// Where the executable lies in memory.
struct Executable {
  std::uintptr_t base = 0, end = 0;
  Executable() {
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* self) {  // the first object is the program itself
          auto& executable = *static_cast<Executable*>(self);
          executable.base = info->dlpi_addr;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& part = info->dlpi_phdr[i];
            if (part.p_type == PT_LOAD) executable.end = info->dlpi_addr + part.p_vaddr + part.p_memsz;
          }
          return 1;
        },
        this);
  }
};

std::string arguments_of_program() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::string json;
  for (std::size_t start = 0; start < all.size(); start = all.find('\0', start) + 1) {
    json += (json.empty() ? "" : ",") + quote(all.c_str() + start);
  }
  return "[" + json + "]";
}

// In front of the buffer of std::cout or std::cerr.
class Tee : public std::streambuf {
 public:
  Tee(std::ostream& stream, int fd) : stream_(stream), original_(stream.rdbuf(this)), fd_(fd) {}
  ~Tee() override { stream_.rdbuf(original_); }

 protected:
  int_type overflow(int_type c) override {
    const char text = traits_type::to_char_type(c);
    if (!traits_type::eq_int_type(c, traits_type::eof())) xsputn(&text, 1);
    return traits_type::not_eof(c);
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    const bool pass = recorder().printed(fd_, {text, static_cast<std::size_t>(size)});
    return pass ? original_->sputn(text, size) : size;
  }
  int sync() override { return original_->pubsync(); }

 private:
  std::ostream& stream_;
  std::streambuf* original_;
  int fd_;
};

FILE* stdout_before = nullptr;

// The same for printf and its kin.
void tee_stdout() {
  const auto write = [](void*, const char* text, std::size_t size) -> ssize_t {
    const bool pass = recorder().printed(STDOUT_FILENO, {text, size});
    return static_cast<ssize_t>(pass ? ::fwrite(text, 1, size, stdout_before) : size);
  };
  FILE* file = ::fopencookie(nullptr, "w", {nullptr, write, nullptr, nullptr});
  if (!file) return;
  ::setvbuf(file, nullptr, _IONBF, 0);
  stdout_before = std::exchange(stdout, file);
}

std::terminate_handler terminate_before = nullptr;

void print_tasks(asyncio::EventLoop& loop) {
  std::string tree;
  try {
    tree = asyncio::pstree(loop);
  } catch (const asyncio::RuntimeError& error) {
    tree = error.what() + std::string("\n");  // tasks await one another in a cycle
  }
  std::cerr << asyncio::ps(loop) << "\n" << tree << std::flush;
}

// Before the recorder sets it for itself.
bool debug_by_user() {
  static const bool is_set = asyncio::debug_by_environment();
  return is_set;
}

// From before main() until after it.
struct Tees {
  Tees() { tee_stdout(); }
  Tees(const Tees&) = delete;
  Tees& operator=(const Tees&) = delete;
  ~Tees() {
    if (stdout_before) std::exchange(stdout, stdout_before);
  }
  Tee out{std::cout, STDOUT_FILENO}, err{std::cerr, STDERR_FILENO};
};

}  // namespace

std::string begin_program() {
  debug_by_user();
  ::setenv("ASYNCIO_DEBUG", "1", 0);
  static const Tees tees;
  terminate_before = std::set_terminate([] {
    recorder().finish();
    terminate_before();
  });
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  return "\"binary\":" + quote({path.data(), static_cast<std::size_t>(length > 0 ? length : 0)}) +
         ",\"argv\":" + arguments_of_program();
}

// The return addresses on the stack that lie in the executable, innermost first, relative to its base.
std::string place_in_program() {
  static const Executable executable;
  std::array<void*, 64> stack;
  const int depth = ::backtrace(stack.data(), static_cast<int>(stack.size()));
  std::string addresses;
  for (int i = 1; i < depth; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(stack[static_cast<std::size_t>(i)]);
    if (address < executable.base || address >= executable.end) continue;
    addresses += (addresses.empty() ? "" : ",") + std::to_string(address - 1 - executable.base);  // within the call
  }
  return "[" + addresses + "]";
}

void Mutex::wait() { std::recursive_mutex::lock(); }

std::unique_ptr<Watch> make_watch(Recorder& recorder, asyncio::EventLoop& loop, int id) {
  return std::make_unique<TaskWatch>(recorder, loop, id);
}

[[maybe_unused]] static const Recorder& started_before_main = recorder();

}  // namespace study

void asyncio::loop_created(EventLoop& loop) {
  if (study::debug_by_user() && asyncio::in_main_thread()) {
    loop.add_signal_handler(SIGUSR1, [&loop] { study::print_tasks(loop); });
  }
  study::recorder().watch(loop);
}
