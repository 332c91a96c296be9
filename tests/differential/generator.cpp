#include "tests/differential/generator.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

namespace differential {
namespace {

// Where an operation may stand.
enum Where {
  first,
  anywhere,
  in_coroutine,
  in_function,
  around,
  last
};  // first: makes what a name stands for, before all else; last: in the script, where main has its turn

struct Pattern {
  const char* subject;
  Where where;
  int weight;
  const char* text;  // {…} is filled in: see Generator::fill
};

// Every operation of the language. A program is about tasks and a few more subjects.
constexpr Pattern PATTERNS[] = {
    {"tasks", in_coroutine, 14, "await sleep {delay}"},
    {"tasks", in_coroutine, 3, "await sleep {delay} {number}"},
    {"tasks", in_coroutine, 8, "await {task}"},
    {"tasks", in_coroutine, 5, "await {coroutine}()"},
    {"tasks", anywhere, 6, "{task} = Task {its coroutine}"},
    {"tasks", anywhere, 5, "{task}.cancel"},
    {"tasks", anywhere, 3, "{task}.cancel {word}"},
    {"tasks", anywhere, 1, "log {word}"},
    {"tasks", in_coroutine, 3, "raise {error} {word}"},
    {"tasks", in_coroutine, 2, "return {number}"},
    {"tasks", around, 4, "try\n except {caught}"},
    {"tasks", around, 3, "try\n finally"},
    {"tasks", around, 2, "try\n except {caught}\n finally"},

    {"cancellation", in_coroutine, 3, "self.cancel"},
    {"cancellation", in_coroutine, 2, "self.cancel {word}"},
    {"cancellation", in_coroutine, 3, "self.uncancel"},
    {"cancellation", in_coroutine, 2, "self.cancelling"},
    {"cancellation", anywhere, 2, "{task}.uncancel"},
    {"cancellation", anywhere, 2, "{task}.cancelling"},
    {"cancellation", around, 4, "try\n except CancelledError"},
    {"cancellation", in_coroutine, 1, "raise CancelledError {word}"},
    {"cancellation", in_coroutine, 1, "await sleep nan"},

    {"outcomes", anywhere, 2, "{task}.done"},
    {"outcomes", anywhere, 2, "{task}.cancelled"},
    {"outcomes", anywhere, 2, "{task}.result"},
    {"outcomes", anywhere, 2, "{task}.exception"},
    {"outcomes", anywhere, 1, "{task}.set_result {number}"},
    {"outcomes", anywhere, 1, "{task}.set_exception {error} {word}"},
    {"outcomes", anywhere, 3, "drop {task}"},
    {"outcomes", in_coroutine, 3, "raise {error} {word}"},

    {"names", anywhere, 2, "{task}.get_name"},
    {"names", anywhere, 2, "{task}.set_name {word}"},
    {"names", in_coroutine, 1, "self.get_name"},
    {"names", in_coroutine, 1, "self.set_name {word}"},
    {"names", anywhere, 2, "all_tasks"},
    {"names", anywhere, 2, "current_task"},
    {"names", in_coroutine, 1, "await self"},

    {"eager", anywhere, 6, "{task} = Task {its coroutine} eager"},

    {"futures", first, 1, "{future} = Future"},
    {"futures", in_coroutine, 8, "await {future}"},
    {"futures", anywhere, 5, "{future}.set_result {number}"},
    {"futures", anywhere, 3, "{future}.set_exception {error} {word}"},
    {"futures", anywhere, 2, "{future}.cancel"},
    {"futures", anywhere, 2, "{future}.cancel {word}"},
    {"futures", anywhere, 1, "{future}.done"},
    {"futures", anywhere, 1, "{future}.cancelled"},
    {"futures", anywhere, 1, "{future}.result"},
    {"futures", anywhere, 1, "{future}.exception"},
    {"futures", anywhere, 2, "drop {future}"},
    {"futures", anywhere, 1, "{future} = Future"},

    {"callbacks", anywhere, 3, "{future}.add_done_callback {function}"},
    {"callbacks", anywhere, 3, "{task}.add_done_callback {function}"},
    {"callbacks", anywhere, 2, "{future}.remove_done_callback {function}"},
    {"callbacks", anywhere, 2, "{task}.remove_done_callback {function}"},
    {"callbacks", anywhere, 2, "{future}.set_result {number}"},

    {"handles", anywhere, 4, "{handle} = call_soon {function}"},
    {"handles", anywhere, 4, "{handle} = call_later {delay} {function}"},
    {"handles", anywhere, 3, "{handle} = call_at {delay} {function}"},
    {"handles", anywhere, 3, "{handle}.cancel"},
    {"handles", anywhere, 1, "{handle}.cancelled"},
    {"handles", anywhere, 1, "{handle}.when"},
    {"handles", anywhere, 2, "call_soon_threadsafe {function}"},

    {"loop", anywhere, 2, "stop"},
    {"loop", anywhere, 1, "burst {burst}"},
    {"loop", anywhere, 2, "handler {function}"},
    {"loop", anywhere, 1, "handler none"},
    {"loop", anywhere, 2, "{handle} = call_soon {function}"},

    {"exits", in_coroutine, 1, "raise KeyboardInterrupt"},
    {"exits", in_coroutine, 1, "raise SystemExit 3"},

    {"gather", anywhere, 5, "{new gathering} = gather {ints}"},
    {"gather", anywhere, 4, "{new gathering} = gather {ints} return_exceptions"},
    {"gather", anywhere, 3, "{new gathering} = gather {coroutines}"},
    {"gather", anywhere, 1, "{new gathering} = gather {coroutines} return_exceptions"},
    {"gather", anywhere, 1, "{new gathering} = gather"},
    {"gather", in_coroutine, 6, "await {gathering}"},
    {"gather", anywhere, 3, "{gathering}.cancel"},
    {"gather", anywhere, 1, "{gathering}.cancel {word}"},
    {"gather", anywhere, 1, "{gathering}.result"},
    {"gather", anywhere, 1, "{gathering}.exception"},
    {"gather", anywhere, 1, "{gathering}.done"},
    {"gather", anywhere, 1, "{gathering}.add_done_callback {function}"},

    {"shield", anywhere, 5, "{new shield} = shield {awaitable}"},
    {"shield", anywhere, 2, "{new shield} = shield {coroutine}()"},
    {"shield", in_coroutine, 5, "await {shield}"},
    {"shield", anywhere, 3, "{shield}.cancel"},
    {"shield", anywhere, 1, "{shield}.cancel {word}"},

    {"wait", in_coroutine, 4, "await wait {awaitables}"},
    {"wait", in_coroutine, 3, "await wait {awaitables} timeout {delay}"},
    {"wait", in_coroutine, 3, "await wait {awaitables} FIRST_COMPLETED"},
    {"wait", in_coroutine, 2, "await wait {awaitables} FIRST_COMPLETED timeout {delay}"},
    {"wait", in_coroutine, 3, "await wait {awaitables} FIRST_EXCEPTION"},
    {"wait", in_coroutine, 2, "await wait {awaitables} FIRST_EXCEPTION timeout {delay}"},

    {"wait_for", in_coroutine, 5, "await wait_for {awaitable} {delay}"},
    {"wait_for", in_coroutine, 4, "await wait_for {coroutine}() {delay}"},
    {"wait_for", in_coroutine, 1, "await wait_for {awaitable} none"},
    {"wait_for", in_coroutine, 1, "await wait_for {coroutine}() none"},

    {"as_completed", in_coroutine, 4, "await as_completed {ints}"},
    {"as_completed", in_coroutine, 3, "await as_completed {ints} timeout {delay}"},

    {"timeouts", around, 6, "timeout {timeout} {delay}"},
    {"timeouts", around, 3, "timeout_at {timeout} {delay}"},
    {"timeouts", around, 1, "timeout {timeout} none"},
    {"timeouts", anywhere, 3, "{timeout}.reschedule {delay}"},
    {"timeouts", anywhere, 1, "{timeout}.reschedule none"},
    {"timeouts", anywhere, 1, "{timeout}.when"},
    {"timeouts", anywhere, 1, "{timeout}.expired"},

    {"groups", around, 6, "group {group}"},
    {"groups", anywhere, 9, "{group}.create_task {task} {its coroutine}"},

    {"locks", first, 1, "{lock} = Lock"},
    {"locks", in_coroutine, 5, "await {lock}.acquire"},
    {"locks", anywhere, 4, "{lock}.release"},
    {"locks", anywhere, 1, "{lock}.locked"},
    {"locks", around, 5, "with {lock}"},

    {"events", first, 1, "{event} = Event"},
    {"events", in_coroutine, 6, "await {event}.wait"},
    {"events", anywhere, 5, "{event}.set"},
    {"events", anywhere, 2, "{event}.clear"},
    {"events", anywhere, 1, "{event}.is_set"},

    {"conditions", first, 2, "{condition} = Condition"},
    {"conditions", first, 1, "{condition} = Condition {lock}"},
    {"conditions", in_coroutine, 2, "await {condition}.acquire"},
    {"conditions", anywhere, 2, "{condition}.release"},
    {"conditions", anywhere, 1, "{condition}.locked"},
    {"conditions", around, 8, "with {condition}"},
    {"conditions", in_coroutine, 6, "await {condition}.wait"},
    {"conditions", in_coroutine, 3, "await {condition}.wait_for {event}"},
    {"conditions", anywhere, 4, "{condition}.notify {count}"},
    {"conditions", anywhere, 2, "{condition}.notify_all"},
    {"conditions", anywhere, 2, "{event}.set"},

    {"semaphores", first, 1, "{semaphore} = Semaphore {count}"},
    {"semaphores", first, 1, "{semaphore} = BoundedSemaphore {count}"},
    {"semaphores", in_coroutine, 6, "await {semaphore}.acquire"},
    {"semaphores", anywhere, 5, "{semaphore}.release"},
    {"semaphores", anywhere, 1, "{semaphore}.locked"},
    {"semaphores", around, 5, "with {semaphore}"},

    {"barriers", first, 1, "{barrier} = Barrier {parties}"},
    {"barriers", in_coroutine, 8, "await {barrier}.wait"},
    {"barriers", around, 3, "with {barrier}"},
    {"barriers", in_coroutine, 2, "await {barrier}.reset"},
    {"barriers", in_coroutine, 1, "await {barrier}.abort"},
    {"barriers", anywhere, 1, "{barrier}.n_waiting"},
    {"barriers", anywhere, 1, "{barrier}.broken"},

    {"queues", first, 2, "{queue} = Queue {count}"},
    {"queues", first, 1, "{queue} = PriorityQueue {count}"},
    {"queues", first, 1, "{queue} = LifoQueue {count}"},
    {"queues", in_coroutine, 6, "await {queue}.put {number}"},
    {"queues", in_coroutine, 6, "await {queue}.get"},
    {"queues", in_coroutine, 3, "await {queue}.join"},
    {"queues", anywhere, 3, "{queue}.put_nowait {number}"},
    {"queues", anywhere, 3, "{queue}.get_nowait"},
    {"queues", anywhere, 3, "{queue}.task_done"},
    {"queues", anywhere, 1, "{queue}.qsize"},
    {"queues", anywhere, 1, "{queue}.empty"},
    {"queues", anywhere, 1, "{queue}.full"},
    {"queues", anywhere, 1, "{queue}.shutdown"},
    {"queues", anywhere, 1, "{queue}.shutdown immediate"},

    {"contexts", first, 2, "{variable} = ContextVar {number}"},
    {"contexts", first, 1, "{variable} = ContextVar"},
    {"contexts", first, 1, "{context} = copy_context"},
    {"contexts", anywhere, 5, "{variable}.get"},
    {"contexts", anywhere, 4, "{variable}.assign {number}"},
    {"contexts", anywhere, 2, "{variable}.reset"},
    {"contexts", anywhere, 1, "{context} = copy_context"},
    {"contexts", anywhere, 12, "{context}.run {function}"},
    {"contexts", anywhere, 2, "{task} = Task {its coroutine} in {context}"},

    {"descriptors", anywhere, 5, "add_reader {fd} {function}"},
    {"descriptors", anywhere, 3, "add_writer {fd} {function}"},
    {"descriptors", anywhere, 2, "remove_reader {fd}"},
    {"descriptors", anywhere, 1, "remove_writer {fd}"},
    {"descriptors", anywhere, 6, "ready {fd} {events} {delay}"},

    // The outside world: Knobs::world.
    {"sockets", in_coroutine, 7, "await {socket}.recv {size}"},
    {"sockets", in_coroutine, 6, "await {socket}.sendall {data}"},
    {"sockets", anywhere, 2, "{socket}.write_now {data}"},
    {"sockets", anywhere, 2, "{socket}.read_now"},
    {"sockets", anywhere, 2, "{socket}.shut"},
    {"sockets", anywhere, 1, "{socket}.close"},
    {"sockets", in_coroutine, 3, "await {listener}.accept ac"},
    {"sockets", anywhere, 2, "{client} = socket"},
    {"sockets", in_coroutine, 3, "await {client}.connect {listener}"},

    {"channels", anywhere, 5, "add_reader {channel} {function}"},
    {"channels", anywhere, 3, "add_writer {channel} {function}"},
    {"channels", anywhere, 3, "remove_reader {channel}"},
    {"channels", anywhere, 3, "remove_writer {channel}"},
    {"channels", anywhere, 5, "{channel}.write_now {data}"},
    {"channels", anywhere, 4, "{channel}.read_now"},
    {"channels", in_function, 8, "{channel}.read_now"},
    {"channels", anywhere, 1, "{channel}.shut"},

    {"transports", in_coroutine, 6, "await attach {transport} {plug}"},
    {"transports", in_coroutine, 2, "await attach {transport} {plug} half"},
    {"transports", in_coroutine, 4, "await attach {transport} {plug} on {function}"},
    {"transports", in_coroutine, 2, "await attach {transport} {plug} half on {function}"},
    {"transports", anywhere, 6, "{transport}.write {data}"},
    {"transports", anywhere, 2, "{transport}.writelines {data} {data}"},
    {"transports", anywhere, 2, "{transport}.write_eof"},
    {"transports", anywhere, 1, "{transport}.can_write_eof"},
    {"transports", anywhere, 3, "{transport}.close"},
    {"transports", anywhere, 2, "{transport}.abort"},
    {"transports", anywhere, 1, "{transport}.is_closing"},
    {"transports", anywhere, 2, "{transport}.pause_reading"},
    {"transports", anywhere, 2, "{transport}.resume_reading"},
    {"transports", anywhere, 1, "{transport}.is_reading"},
    {"transports", anywhere, 1, "{transport}.get_write_buffer_size"},
    {"transports", anywhere, 1, "{transport}.get_write_buffer_limits"},
    {"transports", anywhere, 2, "{transport}.set_write_buffer_limits {limit} {limit}"},
    {"transports", anywhere, 1, "{transport}.set_protocol other"},
    {"transports", anywhere, 5, "{plug}.write_now {data}"},
    {"transports", anywhere, 4, "{plug}.read_now"},
    {"transports", anywhere, 1, "{plug}.shut"},
    {"transports", anywhere, 2, "{plug}.close"},

    {"streams", in_coroutine, 8, "await open {stream} {end}"},
    {"streams", in_coroutine, 2, "await open {stream} {end} {size}"},
    {"streams", in_coroutine, 4, "await {stream}.read {size}"},
    {"streams", in_coroutine, 1, "await {stream}.read -1"},
    {"streams", in_coroutine, 3, "await {stream}.readline"},
    {"streams", in_coroutine, 3, "await {stream}.readexactly {size}"},
    {"streams", in_coroutine, 3, "await {stream}.readuntil {separator}"},
    {"streams", in_coroutine, 4, "await {stream}.drain"},
    {"streams", in_coroutine, 2, "await {stream}.wait_closed"},
    {"streams", anywhere, 6, "{stream}.write {data}"},
    {"streams", anywhere, 1, "{stream}.writelines {data} {data}"},
    {"streams", anywhere, 2, "{stream}.write_eof"},
    {"streams", anywhere, 2, "{stream}.close"},
    {"streams", anywhere, 1, "{stream}.is_closing"},
    {"streams", anywhere, 1, "{stream}.at_eof"},
    {"streams", anywhere, 6, "{end}.write_now {data}"},
    {"streams", anywhere, 3, "{end}.read_now"},
    {"streams", anywhere, 2, "{end}.shut"},
    {"streams", anywhere, 1, "{end}.close"},

    {"servers", in_coroutine, 7, "await serve {server} {its coroutine}"},
    {"servers", in_coroutine, 8, "await dial {stream} {server}"},
    {"servers", in_coroutine, 4, "await accepted.read {size}"},
    {"servers", in_coroutine, 2, "await accepted.readline"},
    {"servers", anywhere, 4, "accepted.write {data}"},
    {"servers", in_coroutine, 2, "await accepted.drain"},
    {"servers", anywhere, 2, "accepted.close"},
    {"servers", in_coroutine, 1, "await accepted.wait_closed"},
    {"servers", in_coroutine, 2, "await {stream}.read {size}"},
    {"servers", anywhere, 4, "{stream}.write {data}"},
    {"servers", anywhere, 2, "{stream}.close"},
    {"servers", anywhere, 3, "{server}.close"},
    {"servers", anywhere, 1, "{server}.is_serving"},
    {"servers", anywhere, 1, "{server}.close_clients"},
    {"servers", anywhere, 1, "{server}.abort_clients"},
    {"servers", in_coroutine, 2, "await {server}.wait_closed"},
    {"servers", in_coroutine, 2, "await {server}.serve_forever"},

    {"datagrams", in_coroutine, 8, "await datagram {endpoint}"},
    {"datagrams", in_coroutine, 3, "await datagram {endpoint} on {function}"},
    {"datagrams", anywhere, 8, "{endpoint}.sendto {endpoint} {data}"},
    {"datagrams", anywhere, 2, "{endpoint}.close"},
    {"datagrams", anywhere, 1, "{endpoint}.abort"},
    {"datagrams", anywhere, 1, "{endpoint}.is_closing"},

    {"executors", anywhere, 6, "{call} = call"},
    {"executors", in_coroutine, 6, "await {call}"},
    {"executors", anywhere, 5, "complete {call} {number}"},
    {"executors", anywhere, 3, "fail {call} {error} {word}"},
    {"executors", anywhere, 2, "{call}.cancel"},
    {"executors", anywhere, 1, "{call}.done"},

    {"threads", anywhere, 6, "in_thread {function}"},

    {"signals", anywhere, 5, "add_signal_handler {signal} {function}"},
    {"signals", anywhere, 2, "remove_signal_handler {signal}"},
    {"signals", anywhere, 6, "kill {signal}"},

    {"pipes", in_coroutine, 5, "await read_pipe {reading} {in}"},
    {"pipes", in_coroutine, 3, "await read_pipe {reading} {in} on {function}"},
    {"pipes", in_coroutine, 5, "await write_pipe {writing} {out}"},
    {"pipes", in_coroutine, 3, "await write_pipe {writing} {out} on {function}"},
    {"pipes", anywhere, 6, "{writing}.write {data}"},
    {"pipes", anywhere, 2, "{writing}.write_eof"},
    {"pipes", anywhere, 2, "{writing}.close"},
    {"pipes", anywhere, 2, "{writing}.abort"},
    {"pipes", anywhere, 1, "{writing}.is_closing"},
    {"pipes", anywhere, 1, "{writing}.get_write_buffer_size"},
    {"pipes", anywhere, 1, "{writing}.set_write_buffer_limits {limit} {limit}"},
    {"pipes", anywhere, 2, "{reading}.pause_reading"},
    {"pipes", anywhere, 2, "{reading}.resume_reading"},
    {"pipes", anywhere, 1, "{reading}.is_reading"},
    {"pipes", anywhere, 2, "{reading}.close"},
    {"pipes", anywhere, 4, "{out}.write_now {data}"},
    {"pipes", anywhere, 4, "{in}.read_now"},
    {"pipes", anywhere, 1, "{out}.close"},
    {"pipes", anywhere, 1, "{in}.close"},

    {"interrupts", anywhere, 6, "interrupt {moment}"},
    {"runners", last, 0, "Runner main()"},
    {"runners", last, 0, "Runner main() {coroutine}()"},
    {"abandoned", last, 0, "abandon"},
};
constexpr std::size_t COUNT = std::size(PATTERNS);
constexpr std::string_view FIRST_OF_WORLD = "sockets", FIRST_OF_ENDS = "interrupts";

/// splitmix64: three lines, and the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  int below(int n) { return n <= 0 ? 0 : static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class Choices> std::string one_of(const Choices& choices) {
    return choices[static_cast<std::size_t>(below(static_cast<int>(std::size(choices))))];
  }

 private:
  std::uint64_t state_;
};

// Those of the outside world, or the others.
std::vector<std::string> subjects_of(bool world) {
  std::vector<std::string> subjects;
  bool outside = false;
  for (const Pattern& pattern : PATTERNS) {
    if (pattern.subject == FIRST_OF_ENDS) break;
    outside |= pattern.subject == FIRST_OF_WORLD;
    if (outside == world && std::find(subjects.begin(), subjects.end(), pattern.subject) == subjects.end()) {
      subjects.emplace_back(pattern.subject);
    }
  }
  return subjects;
}

constexpr std::array DELAYS = {"0", "0", "0.5", "1", "1", "2", "0.25", "-1", "1e-9", "0.1", "0.3", "0.1234567890123"};
constexpr std::array ERRORS = {"ValueError", "RuntimeError", "TimeoutError", "KeyError"};
constexpr std::array CAUGHT = {"CancelledError", "CancelledError", "Exception",    "BaseException",
                               "ValueError",     "TimeoutError",   "RuntimeError", "ExceptionGroup"};
constexpr std::array WORDS = {"boom", "why", "x1"};
constexpr std::array MOMENTS = {"0.07", "0.07", "0.38437", "0.8591", "1.36218"};  // none of them by delays from another
constexpr std::array EVENTS = {"r", "w", "rw"};
constexpr std::array DATA = {"ab", "ab", "x;y", "end;", "hello;", "*20", "*3000", "*70000"};
constexpr std::array SIZES = {"1", "2", "5", "100", "70000"};
constexpr std::array LIMITS = {"0", "0", "100", "5000", "100000"};
constexpr std::array BURSTS = {"5", "12", "30", "5", "7", "150"};

/// Coroutine a2 is of level 2, and task t2 runs it; main is of level 0. What awaits has a lower level than what it
/// awaits, so that nothing waits for itself; gathering g2 and shield s2 were made on level 2.
class Generator {
 public:
  Generator(Random random, const Knobs& knobs) : random_(random), knobs_(knobs) { choose_subjects(); }

  Generated program() {
    levels_ = random_.between(1, knobs_.coroutines);
    functions_ = knobs_.functions;
    if (random_.chance(knobs_.races)) make_race();
    std::string text = race_functions_ + coroutines();
    text += plain_functions();
    text += script_end();
    text = firsts_ + text;
    return {without_tags(text), text, used_};
  }

 private:
  struct Place {
    int level;
    int function;  // 0: a coroutine; n: the n-th plain function
    int depth;
  };

  void choose_subjects() {
    static const std::vector<std::string> subjects = subjects_of(false), outside = subjects_of(true);
    std::set<std::string> chosen = {"tasks"};
    if (!knobs_.only.empty()) chosen.insert(knobs_.only);
    const bool world = knobs_.world > 0 && random_.chance(knobs_.world);
    if (world) chosen.insert(random_.one_of(outside));
    for (int n = random_.between(1, knobs_.subjects); n > 0; --n) {
      chosen.insert(random_.one_of(world && random_.chance(40) ? outside : subjects));
    }
    runner_ = knobs_.runners > 0 && random_.chance(knobs_.runners);
    // Upstream's Ctrl-C also writes to the self-pipe, which other signals would meet there.
    if (runner_ && !chosen.contains("signals") && random_.chance(50)) chosen.insert("interrupts");
    const bool exits = chosen.contains("exits"), signals = chosen.contains("signals") || chosen.contains("interrupts");
    for (std::size_t i = 0; i < COUNT; ++i) {
      const std::string_view text = PATTERNS[i].text;
      // The frames that an exit left hold what ran last: upstream reports it late.
      // Nor beside signals and exits call_soon_threadsafe, whose byte in the self-pipe upstream's loop reads with theirs, or
      // reads again after an exit. NOTES [threadsafe-inbox]; golden.txt was made when it stood beside exits.
      const bool pipe = signals || (exits && knobs_.world > 0);
      const bool excluded = (exits && text.starts_with("drop")) || (pipe && text.starts_with("call_soon_thr")) ||
                            std::any_of(knobs_.without.begin(), knobs_.without.end(),
                                        [&](const std::string& part) { return text.find(part) != text.npos; });
      if (chosen.contains(PATTERNS[i].subject) && !excluded) candidates_.push_back(i);
    }
  }

  template <class Allowed> std::size_t choose(Allowed allowed) {
    int total = 0;
    for (const std::size_t i : candidates_) total += allowed(PATTERNS[i]) ? PATTERNS[i].weight : 0;
    int at = random_.below(total);
    for (const std::size_t i : candidates_) {
      if (allowed(PATTERNS[i]) && (at -= PATTERNS[i].weight) < 0) return i;
    }
    return candidates_.front();
  }

  std::string coroutines() {
    std::string text;
    for (int level = levels_; level >= 0; --level) {
      text += level == 0 ? "async main\n" : "async a" + std::to_string(level) + "\n";
      if (level == 0) text += race_ + start_tasks();
      text += operations({level, 0, 1}, random_.between(level == 0 ? 2 : 1, knobs_.operations + (level == 0)));
    }
    return text;
  }

  struct Race {
    const char* made;    // before all else
    const char* before;  // by main
    const char* waits;
    const char* wakes;
  };
  static constexpr int SEMAPHORES_AND_QUEUES = 6;  // those that come first, where a wake-up is lost most easily
  static constexpr Race RACES[] = {
      {"r = Semaphore 0", "", "await r.acquire", "r.release"},
      {"r = BoundedSemaphore 1", "await r.acquire", "await r.acquire", "r.release"},
      {"r = Queue 1", "", "await r.get", "r.put_nowait 7"},
      {"r = Queue 1", "r.put_nowait 1", "await r.put 2", "r.get_nowait"},
      {"r = LifoQueue 1", "", "await r.get", "r.put_nowait 7"},
      {"r = PriorityQueue 1", "r.put_nowait 1", "await r.put 2", "r.get_nowait"},
      {"r = Lock", "await r.acquire", "await r.acquire", "r.release"},
      {"r = Event", "", "await r.wait", "r.set"},
      {"r = Future", "", "await r", "r.set_result 1"},
      {"r = Barrier 2", "", "await r.wait", "w4 = Task waiter eager"},
  };

  // Tasks wait for one thing. In one step of main it comes, and one of them is cancelled: nothing may be lost.
  void make_race() {
    const int last = random_.chance(60) ? SEMAPHORES_AND_QUEUES : static_cast<int>(std::size(RACES));
    const Race& race = RACES[random_.below(last)];
    const std::string waits = race.waits, wakes = race.wakes;
    firsts_ += std::string(race.made) + "\n";
    race_functions_ = "async waiter\n try\n  " + waits + "\n  log got\n finally\n  log out\n";
    if (random_.chance(40)) race_functions_ += " " + wakes + "\n";
    if (*race.before) race_ += " " + std::string(race.before) + "\n";
    const int waiters = random_.between(2, 3);
    for (int i = 1; i <= waiters; ++i) race_ += " w" + std::to_string(i) + " = Task waiter\n";
    const int rounds = random_.between(1, 2);
    for (int round_number = 1; round_number <= rounds; ++round_number) {
      race_ += " await sleep " + random_.one_of(std::array{"0", "0", "0.5", "1"}) + "\n";
      const int whom = random_.chance(60) ? round_number : random_.between(1, waiters);  // mostly the one that is woken
      const std::string cancel = " w" + std::to_string(whom) + ".cancel\n";
      race_ += random_.chance(70) ? " " + wakes + "\n" + cancel : cancel + " " + wakes + "\n";
      if (random_.chance(30)) race_ += " " + wakes + "\n";
    }
    race_ += " await sleep 1\n";
  }

  std::string start_tasks() {
    std::string text;
    for (int level = 1; level <= levels_; ++level) {
      if (random_.chance(75)) text += line({0, 0, 1}, find("{task} = Task {its coroutine}"), level);
    }
    return text;
  }

  // Functions that were asked for; a function schedules only those after it, so that there is an end.
  std::string plain_functions() {
    std::string text;
    for (int n = 1; n <= functions_; ++n) {
      if (!wanted_.contains(n)) continue;
      text += "def k" + std::to_string(n) + "\n" + operations({0, n, 1}, random_.between(0, 3));
    }
    return text;
  }

  // Mostly nothing: then main is run.
  std::string script_end() {
    const Place script{0, functions_, 0};
    if (runner_) {
      const bool two = levels_ > 0 && random_.chance(30);
      return line(script, find(two ? "Runner main() {coroutine}()" : "Runner main()"), 0);
    }
    if (knobs_.abandoned > 0 && random_.chance(knobs_.abandoned))
      return "run main()\n" + line(script, find("abandon"), 0);
    if (!random_.chance(25)) return "";
    std::string text = operations(script, random_.below(3));
    text += "run main()\n";
    text += operations(script, random_.below(3));
    if (random_.chance(40)) text += "run " + fill("{task}", script, 0) + "\n";
    if (random_.chance(40)) text += "run " + fill("{coroutine}()", script, 0) + "\n";
    return text;
  }

  std::string operations(Place place, int count) {
    std::string text;
    for (; count > 0; --count) {
      text += line(place, choose([&](const Pattern& pattern) { return fits(pattern, place); }), 0);
    }
    return text;
  }

  bool fits(const Pattern& pattern, Place place) const {
    const std::string_view text = pattern.text;
    if (pattern.where == first || pattern.where == last) return false;
    const bool plain = pattern.where == anywhere || pattern.where == in_function;
    if (place.function != 0 ? !plain : pattern.where == in_function) return false;
    if (text == "await self" && (place.level != 0 || used_self_)) return false;
    if (place.depth > 2 && pattern.where == around) return false;
    if (place.function == functions_ && text.find("{function}") != text.npos) return false;
    const bool needs_level = text.find("{task}") != text.npos || text.find("oroutine") != text.npos ||
                             text.find("{await") != text.npos || text.find("{ints}") != text.npos;
    return place.level < levels_ || !needs_level;
  }

  // A line, with what stands below it.
  std::string line(Place place, std::size_t pattern, int level) {
    used_.insert(pattern);
    used_self_ |= std::string_view(PATTERNS[pattern].text) == "await self";
    const std::string indent(static_cast<std::size_t>(place.depth), ' ');
    std::string text;
    std::string_view rest = PATTERNS[pattern].text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view part = rest.substr(0, end);
      if (part.starts_with(' ')) part.remove_prefix(1);
      text += indent + fill(part, place, level) + (text.empty() ? tag(pattern) : "") + "\n";
      if (PATTERNS[pattern].where == around) {
        text += operations({place.level, place.function, place.depth + 1}, random_.between(1, 3));
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return text;
  }

  std::string fill(std::string_view pattern, Place place, int level) {
    std::string text;
    level_ = level ? level : random_.between(place.level + 1, levels_);
    while (!pattern.empty()) {
      const std::size_t open = std::min(pattern.find('{'), pattern.size());
      text += pattern.substr(0, open);
      pattern.remove_prefix(open);
      if (pattern.empty()) break;
      const std::size_t close = pattern.find('}');
      text += value(std::string(pattern.substr(1, close - 1)), place);
      pattern.remove_prefix(close + 1);
    }
    return text;
  }

  std::string value(const std::string& what, Place place) {
    if (what == "delay") return random_.one_of(DELAYS);
    if (what == "number") return std::to_string(random_.below(10));
    if (what == "count") return std::to_string(random_.below(3));
    if (what == "parties") return std::to_string(random_.between(1, 3));
    if (what == "error") return random_.one_of(ERRORS);
    if (what == "caught") return random_.one_of(CAUGHT);
    if (what == "word") return random_.one_of(WORDS);
    if (what == "moment") return random_.one_of(MOMENTS);
    if (what == "events") return random_.one_of(EVENTS);
    if (what == "burst") return random_.one_of(BURSTS);
    if (what == "fd") return std::to_string(random_.between(200, 201));
    if (what == "handle") return "h" + std::to_string(random_.between(1, 2));
    if (what == "task") return "t" + std::to_string(level_);
    if (what == "coroutine" || what == "its coroutine") return "a" + std::to_string(level_);
    if (what == "function") return function(place);
    if (what == "new gathering") return "g" + std::to_string(place.level);
    if (what == "new shield") return "sh" + std::to_string(place.level);
    if (what == "gathering") return "g" + std::to_string(random_.between(place.level, levels_));
    if (what == "shield") return "sh" + std::to_string(random_.between(place.level, levels_));
    if (what == "timeout") return "to" + std::to_string(random_.between(place.level, levels_));
    if (what == "group") return "tg" + std::to_string(random_.between(place.level, levels_));
    if (what == "data") return random_.one_of(DATA);
    if (what == "size") return random_.one_of(SIZES);
    if (what == "limit") return random_.one_of(LIMITS);
    if (what == "separator") return random_.chance(80) ? ";" : "y";
    if (what == "signal") return random_.chance(70) ? "USR1" : "USR2";
    if (what == "socket") return random_.chance(20) ? random_.one_of(std::array{"ac", "cl1"}) : end_of_pair('x', 'y');
    if (what == "channel") return end_of_pair('u', 'w');
    if (what == "plug") return end_of_pair('p', 'm');
    if (what == "end") return end_of_pair('d', 'n');
    if (what == "in" || what == "out") return pipe_end(what == "in");
    if (what == "reading") return "ri" + std::to_string(random_.between(1, 2));
    if (what == "writing") return "wo" + std::to_string(random_.between(1, 2));
    if (what == "listener") return listener();
    if (what == "client") return "cl" + std::to_string(random_.between(1, 2));
    if (what == "transport") return "tr" + std::to_string(random_.between(1, 2));
    if (what == "stream") return "st" + std::to_string(random_.between(1, 2));
    if (what == "server") return "sv";
    if (what == "endpoint") return "dg" + std::to_string(random_.between(1, 2));
    if (what == "call") return "ex" + std::to_string(random_.between(1, 2));
    if (what == "ints" || what == "coroutines" || what == "awaitables") return several(what, place);
    if (what == "awaitable") return awaitable(place);
    return named(what, place);
  }

  std::string function(Place place) {
    const int n = random_.between(place.function + 1, functions_);
    wanted_.insert(n);
    return "k" + std::to_string(n);
  }

  std::string several(const std::string& what, Place place) {
    std::string text;
    bool has_call = false;  // as_completed would start them in any order
    for (int n = random_.between(1, 3); n > 0; --n) {
      const std::string level = std::to_string(random_.between(place.level + 1, levels_));
      const bool call = what == "coroutines" || (what == "ints" && !has_call && random_.chance(25));
      has_call |= call;
      const bool future = has_subject("futures") && random_.chance(40);
      const std::string one = what == "awaitables" ? awaitable(place)
                              : call               ? "a" + level + "()"
                              : future             ? named("future", place)
                                                   : "t" + level;
      text += (text.empty() ? "" : " ") + one;
    }
    return text;
  }

  // What a coroutine of this level may wait for.
  std::string awaitable(Place place) {
    if (has_subject("futures") && random_.chance(35)) return named("future", place);
    const int level = random_.between(place.level + 1, levels_);
    if (has_subject("gather") && random_.chance(40)) return "g" + std::to_string(level);
    return "t" + std::to_string(level);
  }

  bool has_subject(std::string_view subject) const {
    return std::any_of(candidates_.begin(), candidates_.end(),
                       [&](std::size_t i) { return PATTERNS[i].subject == subject; });
  }

  // One of the two ends of one of two pairs, which are made at the beginning.
  std::string end_of_pair(char one, char other) {
    const std::string number = std::to_string(random_.between(1, 2));
    const std::string first = one + number, second = other + number;
    if (made_.insert(first).second) firsts_ += first + " = socketpair " + second + "\n";
    return random_.chance(50) ? first : second;
  }

  std::string pipe_end(bool in) {
    const std::string number = std::to_string(random_.between(1, 2)), first = "in" + number, second = "out" + number;
    if (made_.insert(first).second) firsts_ += first + " = pipe " + second + "\n";
    return in ? first : second;
  }

  std::string listener() {
    if (made_.insert("li").second) firsts_ += "li = listener\n";
    return "li";
  }

  // "{queue}": one of two, which are made at the beginning.
  std::string named(const std::string& what, Place place) {
    const std::string name = what.substr(0, 1) +
                             (what == "condition" ? "o"
                              : what == "context" ? "x"
                                                  : "") +
                             std::to_string(random_.between(1, what == "future" ? 3 : 2));
    if (!made_.insert(name).second || random_.chance(2)) return name;
    const std::string start = "{" + what + "} = ";
    std::vector<std::size_t> ways;
    for (std::size_t i = 0; i < COUNT; ++i) {
      if (PATTERNS[i].where == first && std::string_view(PATTERNS[i].text).starts_with(start)) {
        ways.insert(ways.end(), static_cast<std::size_t>(PATTERNS[i].weight), i);
      }
    }
    const std::size_t way = ways[static_cast<std::size_t>(random_.below(static_cast<int>(ways.size())))];
    used_.insert(way);
    const int level = level_;
    const std::string made = fill(std::string_view(PATTERNS[way].text).substr(start.size()), place, level);
    level_ = level;
    firsts_ += name + " = " + made + tag(way) + "\n";
    return name;
  }

  static std::string tag(std::size_t pattern) { return "\t" + std::to_string(pattern); }

  static std::size_t find(std::string_view text) {
    std::size_t i = 0;
    while (PATTERNS[i].text != text) ++i;
    return i;
  }

  Random random_;
  const Knobs& knobs_;
  std::vector<std::size_t> candidates_;
  int levels_ = 0, functions_ = 0, level_ = 0;
  bool runner_ = false;
  bool used_self_ = false;  // upstream's task cannot be awaited any more after it awaited itself
  std::set<int> wanted_;
  std::set<std::string> made_;
  std::string firsts_, race_, race_functions_;
  std::set<std::size_t> used_;
};

}  // namespace

Generated generate(std::uint64_t seed, std::uint64_t index, const Knobs& knobs) {
  Random random(seed);
  random = Random(random.next() ^ (index * 0xD1342543DE82EF95u));
  random.next();
  return Generator(random, knobs).program();
}

std::string without_tags(const std::string& tagged) {
  std::string text;
  for (std::size_t at = 0; at < tagged.size();) {
    const std::size_t tab = std::min(tagged.find('\t', at), tagged.size()), end = tagged.find('\n', at);
    text.append(tagged, at, std::min(tab, end) - at) += '\n';
    at = end + 1;
  }
  return text;
}

std::vector<std::string> pattern_texts() {
  std::vector<std::string> texts;
  for (const Pattern& pattern : PATTERNS) {
    std::string text = pattern.text;
    std::replace(text.begin(), text.end(), '\n', ',');
    texts.push_back(text);
  }
  return texts;
}

}  // namespace differential
