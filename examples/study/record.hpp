// What a recording consists of: events in the order in which they happened, and tables of what they are about. README.md
// has the format.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace study {

/// Text as a JSON string.
std::string quote(std::string_view text);

/// The JSON array of these numbers and of texts that are JSON already.
template <class... Items> std::string array(const Items&... items) {
  const auto json = [](const auto& item) {
    if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(item)>>) {
      return std::to_string(item);
    } else {
      return std::string(item);
    }
  };
  std::string text;
  ((text += (text.empty() ? "" : ",") + json(items)), ...);
  return text;
}

/// Grows with the program, and is written at its end. All entries of the tables and the arguments of events are JSON.
class Record {
 public:
  static constexpr std::size_t LIMIT = 2'000'000;  // events: what comes later is not recorded

  /// Adds an entry to a table. Returns its index.
  int add(const char* table, std::string entry);
  /// Puts another entry in place of one.
  void replace(const char* table, int index, std::string entry);
  /// The index of the entry; adds it if the table does not have it.
  int intern(const char* table, const std::string& entry);

  void event(const char* kind, double microseconds, int loop, int place, const std::string& arguments);

  void write(std::ostream& out) const;

  std::string program;  // members that say which one it is

 private:
  struct Table {
    std::vector<std::string> entries;
    std::map<std::string, int> index;
  };
  std::map<std::string, Table> tables_;
  std::vector<std::string> events_;
};

}  // namespace study
