// A picture of the loop at work: an Instrument is told of everything that happens, and draws it.
// Look at the columns, which are the loop's iterations: who runs in the same one, who wakes whom, and that the woken one runs
// in the next column. Given the name of a file, the program also writes the picture there as SVG, for a browser.
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "asyncio.hpp"
#include "examples/program.hpp"

// A task in one iteration.
struct Cell {
  bool ran, done, woken;
  std::string by;  // the task that woke it; "": a callback, such as a timer's
  char glyph() const { return done ? '*' : ran ? '#' : woken ? 'o' : '.'; }
};

struct Row {
  std::string task;
  std::map<int, Cell> cells;
  int first, last;  // iterations
};

class Painter : public asyncio::Instrument {
 public:
  void before_select(std::optional<double> timeout) override { slept_.push_back(!timeout || *timeout > 0); }
  void task_created(const asyncio::AnyTask& task, const asyncio::AnyTask& by) override {
    rows_.push_back({task.get_name(), {}, now(), now()});
    wake(task, by);
  }
  void task_step(const asyncio::AnyTask& task) override { cell(task).ran = true; }
  void task_woken(const asyncio::AnyTask& task, const asyncio::AnyFuture&) override {
    wake(task, asyncio::current_task());
  }
  void task_done(const asyncio::AnyTask& task) override { cell(task).done = true; }

  void print(std::ostream& out) const {
    out << std::setw(12) << "";
    for (int i = 1; i <= now(); ++i) out << std::setw(3) << i;
    out << "\n" << std::setw(12) << "";
    for (bool slept : slept_) out << (slept ? "  ~" : "   ");
    for (const Row& row : rows_) {
      out << "\n" << std::left << std::setw(12) << row.task << std::right;
      for (int i = 1; i <= row.last; ++i) out << "  " << (i < row.first ? ' ' : glyph(row, i));
    }
    out << "\n";
  }

  void write_svg(std::ostream& out) const {
    out << "<svg xmlns='http://www.w3.org/2000/svg' width='" << std::max(x(now() + 1), 720) << "' height='"
        << y(rows_.size()) + 24
        << "' font-family='sans-serif' font-size='13'>\n"
           "<style>text{fill:#333} line{stroke:#b8c4d0;stroke-width:3} .by{stroke:#d9822b;stroke-width:1.5;fill:none}"
           " .step{fill:#3b7dd8} .end{fill:#1f9d55} .sleep{fill:#eee}</style>\n"
           "<rect width='100%' height='100%' fill='white'/>\n";
    for (int i = 1; i <= now(); ++i) {
      if (slept_[i - 1])
        out << "<rect class='sleep' x='" << x(i) - 17 << "' width='6' height='" << y(rows_.size()) - 24 << "'/>\n";
      out << "<text x='" << x(i) << "' y='20' text-anchor='middle'>" << i << "</text>\n";
    }
    for (std::size_t r = 0; r < rows_.size(); ++r) write_row(out, r);
    out << "<text x='10' y='" << y(rows_.size()) + 12
        << "'>Columns: iterations. Grey bar: the loop slept before. Green: the end of the task. Orange: who woke "
           "whom.</text>\n"
           "</svg>\n";
  }

 private:
  int now() const { return static_cast<int>(slept_.size()); }
  Row& row_of(const std::string& task) {
    for (Row& row : rows_) {
      if (row.task == task) return row;
    }
    throw asyncio::KeyError(task);
  }
  Cell& cell(const asyncio::AnyTask& task) {
    Row& row = row_of(task.get_name());
    row.last = now();
    return row.cells[now()];
  }
  void wake(const asyncio::AnyTask& task, const asyncio::AnyTask& by) {
    Cell& woken = cell(task);
    woken.woken = true;
    woken.by = by ? by.get_name() : "";
  }
  static char glyph(const Row& row, int i) { return row.cells.contains(i) ? row.cells.at(i).glyph() : '.'; }

  static int x(int iteration) { return 110 + 28 * iteration; }
  static int y(std::size_t row) { return 50 + 34 * static_cast<int>(row); }
  void write_row(std::ostream& out, std::size_t r) const {
    const Row& row = rows_[r];
    out << "<text x='10' y='" << y(r) + 4 << "'>" << row.task << "</text>\n"
        << "<line x1='" << x(row.first) << "' x2='" << x(row.last) << "' y1='" << y(r) << "' y2='" << y(r) << "'/>\n";
    for (const auto& [i, cell] : row.cells) {
      if (cell.ran) {
        out << "<circle class='" << (cell.done ? "end" : "step") << "' cx='" << x(i) << "' cy='" << y(r)
            << "' r='7'/>\n";
      }
      for (std::size_t from = 0; cell.woken && from < rows_.size(); ++from) {
        if (rows_[from].task != cell.by) continue;
        out << "<path class='by' d='M" << x(i) << "," << y(from) << " L" << x(i + 1) << "," << y(r) << "'/>\n";
      }
    }
  }

  std::vector<bool> slept_;  // before each iteration
  std::vector<Row> rows_;    // in the order of creation
};

asyncio::Coroutine<> produce(asyncio::Queue<int>& queue) {
  for (int i = 1; i <= 3; ++i) co_await queue.put(i);  // there is room for one
  queue.shutdown();
}

asyncio::Coroutine<> consume(asyncio::Queue<int>& queue) {
  try {
    while (true) co_await queue.get();
  } catch (const asyncio::QueueShutDown&) {}
  co_await asyncio::sleep(0.01);
}

asyncio::Coroutine<> spin(int times) {
  for (; times > 0; --times) co_await asyncio::sleep(0);  // gives up exactly one iteration
}

asyncio::Coroutine<> work() {
  asyncio::Queue<int> queue(1);
  co_await asyncio::async_with(asyncio::TaskGroup(), [&](asyncio::TaskGroup& group) -> asyncio::Coroutine<> {
    group.create_task(produce(queue), {.name = "producer"});
    group.create_task(consume(queue), {.name = "consumer"});
    group.create_task(spin(4), {.name = "spinner"});
    co_return;
  });
}

void paint(const program::Arguments& arguments) {
  Painter painter;
  asyncio::EventLoop loop;
  loop.add_instrument(painter);
  asyncio::Task<> task = loop.create_task(work(), {.name = "main"});
  loop.run_until_complete(task);

  std::cout << "# runs   * runs, and is done   o is woken: it will run in the next iteration   . waits   ~ the loop "
               "slept\n\n";
  painter.print(std::cout);
  if (!arguments.given(0)) return;
  const std::string name = arguments.text(0, "");
  std::ofstream file(name);
  painter.write_svg(file);
  file.close();
  if (!file) throw std::system_error(errno, std::generic_category(), name);
  std::cout << "\nthe same for a browser: " << name << "\n";
}

int main(int argc, char** argv) { return program::run(argc, argv, "[FILE.svg]", paint); }
