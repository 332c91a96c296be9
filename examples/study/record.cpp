#include "examples/study/record.hpp"

#include <cstdio>
#include <utility>

namespace study {
std::string quote(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    char escape[8];
    if (c == '"' || c == '\\') {
      json += {'\\', c};
    } else if (c == '\n') {
      json += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      json += escape;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

int Record::add(const char* table, std::string entry) {
  std::vector<std::string>& entries = tables_[table].entries;
  entries.push_back(std::move(entry));
  return static_cast<int>(entries.size()) - 1;
}

void Record::replace(const char* table, int index, std::string entry) {
  tables_[table].entries.at(static_cast<std::size_t>(index)) = std::move(entry);
}

int Record::intern(const char* table, const std::string& entry) {
  Table& in = tables_[table];
  const auto [position, is_new] = in.index.emplace(entry, static_cast<int>(in.entries.size()));
  if (is_new) in.entries.push_back(entry);
  return position->second;
}

void Record::event(const char* kind, double microseconds, int loop, int place, const std::string& arguments) {
  if (events_.size() >= LIMIT) return;
  char head[96];
  std::snprintf(head, sizeof head, "[\"%s\",%.1f,%d,%d%s", kind, microseconds, loop, place,
                arguments.empty() ? "" : ",");
  events_.push_back(head + arguments + "]");
}

void Record::write(std::ostream& out) const {
  out << "{\"format\":\"asyncio-study 1\"," << program;
  const auto list = [&](const std::string& name, const std::vector<std::string>& entries) {
    out << ",\n\"" << name << "\":[";
    for (std::size_t i = 0; i < entries.size(); ++i) out << (i ? ",\n" : "\n") << entries[i];
    out << "]";
  };
  for (const char* table : {"loops", "tasks", "futures", "handles", "stacks", "places"}) {
    const auto found = tables_.find(table);
    list(table, found == tables_.end() ? std::vector<std::string>() : found->second.entries);
  }
  list("events", events_);
  out << "}\n";
}

}  // namespace study
