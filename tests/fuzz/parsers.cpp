// The examples' parsers: they end every input with an answer or an error of their own, keep no more than they say, and
// do not care in which pieces the bytes arrive.
#include "examples/fibservers/fib.hpp"
#include "examples/http/http.hpp"
#include "examples/webclients/site.hpp"
#include "tests/fuzz/targets.hpp"

namespace fuzz {
namespace {

// The requests, one a line, and the error that ended them.
std::string requests_of(std::string_view text, std::size_t piece) {
  http::Requests requests;
  std::string seen;
  try {
    for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
      requests.feed(text.substr(0, piece));
      while (const std::optional<http::Request> request = requests.next()) {
        seen += request->method + " " + request->target + " " + std::to_string(request->content_length) +
                (request->keep_alive ? " keep\n" : "\n");
        require(request->content_length <= http::MAX_BODY, "a body without a bound");
      }
    }
  } catch (const http::Error& error) {
    seen += error.what();
  }
  return seen;
}

// The lines that are answered, each as the parser sees it: fib() itself would take too long.
std::string numbers_of(std::string_view text, std::size_t piece) {
  Lines lines;
  std::string seen;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) {
    lines.feed(text.substr(0, piece));
    while (const std::optional<std::string> line = lines.next()) {
      try {
        seen += std::to_string(parse(*line)) + "\n";
      } catch (const std::invalid_argument& error) {
        seen += error.what() + std::string("\n");
      }
    }
  }
  return seen;
}

}  // namespace

void parsers(std::string_view input) {
  Bytes bytes(input.substr(0, 1));
  const std::size_t piece = 1 + bytes.below(16);
  input.remove_prefix(std::min<std::size_t>(1, input.size()));
  const std::string whole = requests_of(input, input.size()), pieces = requests_of(input, piece);
  require(whole == pieces, "requests in pieces are others:\n" + whole + "\nand\n" + pieces);
  require(numbers_of(input, input.size()) == numbers_of(input, piece), "lines in pieces are others");
  const web::Answer answer = web::parse(input);
  require(answer.body.size() <= input.size(), "a body that is longer than the answer");
}

}  // namespace fuzz
