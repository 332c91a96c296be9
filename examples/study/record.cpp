#include "examples/study/record.hpp"

#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

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

}  // namespace

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

int Record::intern(const char* table, const std::string& entry) {
  Table& in = tables_[table];
  const auto [position, is_new] = in.index.emplace(entry, static_cast<int>(in.entries.size()));
  if (is_new) in.entries.push_back(entry);
  return position->second;
}

int Record::place() {
  static const Executable executable;
  std::array<void*, 64> stack;
  const int depth = ::backtrace(stack.data(), static_cast<int>(stack.size()));
  std::string addresses;
  for (int i = 1; i < depth; ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(stack[static_cast<std::size_t>(i)]);
    if (address < executable.base || address >= executable.end) continue;
    addresses += (addresses.empty() ? "" : ",") + std::to_string(address - 1 - executable.base);  // within the call
  }
  return intern("places", "[" + addresses + "]");
}

void Record::event(const char* kind, double microseconds, int loop, int place, const std::string& arguments) {
  if (events_.size() >= LIMIT) return;
  char head[96];
  std::snprintf(head, sizeof head, "[\"%s\",%.1f,%d,%d%s", kind, microseconds, loop, place,
                arguments.empty() ? "" : ",");
  events_.push_back(head + arguments + "]");
}

void Record::write(std::ostream& out) const {
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  out << "{\"format\":\"asyncio-study 1\",\"binary\":"
      << quote({path.data(), static_cast<std::size_t>(length > 0 ? length : 0)})
      << ",\"argv\":" << arguments_of_program();
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
