#include "tests/differential/twin.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

namespace differential {

Twin::Twin(const std::string& python) {
  int to[2], from[2];
  if (pipe(to) < 0 || pipe(from) < 0) throw std::runtime_error("pipe");
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    dup2(to[0], 0);
    dup2(from[1], 1);
    for (const int fd : {to[0], to[1], from[0], from[1]}) close(fd);
    execlp(python.c_str(), python.c_str(), "tests/differential/interpreter.py", "--serve", static_cast<char*>(nullptr));
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  to_ = to[1];
  from_ = from[0];
}

Twin::~Twin() {
  close(to_);
  close(from_);
  waitpid(pid_, nullptr, 0);
}

void Twin::send(const std::vector<std::string>& programs) {
  std::string text;
  for (const std::string& program : programs) text += program + "%\n";
  write_all(std::to_string(text.size()) + "\n" + text);
}

std::vector<std::string> Twin::receive() {
  std::string header;
  while (header.empty() || header.back() != '\n') header += read_exactly(1);
  const std::string text = read_exactly(std::stoul(header));
  std::vector<std::string> traces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\n%\n", at);
    traces.push_back(text.substr(at, end - at));
    at = end + 3;
  }
  return traces;
}

std::string Twin::trace(const std::string& program) {
  send({program});
  return receive().at(0);
}

void Twin::write_all(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = write(to_, text.data() + at, text.size() - at);
    if (n <= 0) throw std::runtime_error("the Python interpreter of the programs has ended");
    at += static_cast<std::size_t>(n);
  }
}

std::string Twin::read_exactly(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t at = 0; at < size;) {
    const ssize_t n = read(from_, text.data() + at, size - at);
    if (n <= 0) throw std::runtime_error("the Python interpreter of the programs has ended");
    at += static_cast<std::size_t>(n);
  }
  return text;
}

}  // namespace differential
