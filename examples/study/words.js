// What happens, in words; and which function does it.
'use strict';

// functions.json is FUNCTIONS: by kind of event, ours and the step of it. The rows of NOTES.md add upstream's name. runs.py has the
// twin of this.
function kindOfFunction([kind, , , place, , b, c]) {
  if (kind === 'soon' && place < 0) return 'soon, selector';
  if (kind === 'cancels' && b === 0) return 'cancels, zero';
  if (kind === 'fd' && b < 0) return c < 0 ? 'fd, gone' : 'fd, writer';
  return kind;
}
// Of a Python program these are CPython's own.
const OF_CPYTHON = /^(TaskState|FutureState)::/;

const LIBRARY_NAMES = [
  [/sleep_until_timer/, 'sleep()'], [/sleep0/, 'sleep(0)'], [/attempt_when_ready|SockCallback/, 'a descriptor to be ready'],
  [/World::shutdown/, 'the shutdown of run()'], [/StreamReaderState::wait_for_data|StreamReader::_wait_for_data/, 'data of its stream'],
  [/SelectorEventLoop::sock_/, 'a descriptor to be ready'],
];
const LIBRARY_CALLBACKS = [
  [/sleep_until_timer|asyncio::_set_result_unless_cancelled/, 'timer of sleep()'], [/Selector\w*Transport/, 'a transport'], [/ServerState|EventLoop::_accept/, 'a server'],
  [/SockCallback|EventLoop::_sock_/, 'a waiting sock_ method'], [/_run_until_complete_cb/, 'stop() of run_until_complete()'],
];

function seconds(value) {
  if (value >= 1) return `${+value.toPrecision(4)} s`;
  if (value >= 0.001) return `${+(value * 1e3).toPrecision(4)} ms`;
  return `${+(value * 1e6).toPrecision(4)} µs`;
}

// asyncio::Queue<int>::get is Queue.get().
function pretty(name) {
  for (const [pattern, words] of LIBRARY_NAMES) if (pattern.test(name)) return words;
  let depth = 0;
  let plain = '';
  for (const c of name) {
    if (c === '<') depth += 1;
    if (depth === 0) plain += c;
    if (c === '>') depth -= 1;
  }
  return plain.replace(/^asyncio::(Base\w*EventLoop::)?/, '').replaceAll('::', '.') + '()';
}

class Words {
  constructor(record) {
    this.record = record;
    this.ofPython = /\.py$/.test(record.program ?? '');
  }

  line(place) {
    return this.record.places[place]?.[0];
  }

  task(id) {
    return this.record.tasks[id]?.[0] ?? '?';
  }

  // The task with its coroutine: "Task-2 work()".
  taskAndBody(id) {
    const [name, func] = this.record.tasks[id];
    return func ? `${name} ${pretty(func)}` : name;
  }

  handle(id) {
    if (id < 0) return 'the loop';
    const [kind, label, task, place] = this.record.handles[id];
    if (task >= 0) return this.task(task);
    if (label === 'self-pipe') return 'the self-pipe';
    const at = this.line(place);
    const known = LIBRARY_CALLBACKS.find(([pattern]) => pattern.test(label));
    if (known) return kind === 'reader' || kind === 'writer' ? `${kind} of ${known[1]}` : known[1];
    if (kind === 'reader' || kind === 'writer') return `${kind}, ${label}`;
    const name = label === 'function' ? 'callback' : label.replace(/^lambda in asyncio::/, 'callback of ').replace(/^asyncio::/, '').replaceAll('::', '.');
    if (at && /^lambda in/.test(name)) return `lambda, line ${at[2]}`;
    return at ? `${name}, line ${at[2]}` : name === 'callback' ? "callback of asyncio's own" : name;
  }

  future(id) {
    if (id < 0) return 'its next turn';
    const [maker, task] = this.record.futures[id];
    if (task >= 0) return this.task(task);
    return /^asyncio::/.test(maker) ? pretty(maker) : `a future, in ${pretty(maker)}`;
  }

  by(handle) {
    return handle < 0 ? '' : ` by ${this.handle(handle)}`;
  }

  say(event) {
    const [kind, , , , ...args] = event;
    return SENTENCES[kind] ? SENTENCES[kind].call(this, ...args) : kind;
  }

  // Ours, which step of it, upstream's, why it differs, the heading in NOTES; and which functions of the library called it, the nearest first.
  upstream(event) {
    let kind = kindOfFunction(event);
    const isStep = event[0] === 'soon' && this.record.handles[event[4]][2] >= 0;
    if (this.ofPython && kind === 'soon, selector' && (isStep || event[5] >= 0)) kind = 'soon';
    const [usual, step] = FUNCTIONS[kind] ?? ['', ''];
    const calls = this.record.calls?.[event[3]] ?? [];
    const ours = usual && (calls[0] ?? usual);
    const [theirs, why, heading] = (this.record.notes ?? {})[ours] ?? ['', '', ''];
    if (this.ofPython && OF_CPYTHON.test(ours)) {
      return { ours: theirs || ours, detail: ["CPython's own", step].filter(Boolean).join('; '), theirs: '', why: '', heading, callers: [] };
    }
    return { ours, detail: ours === usual ? step : '', theirs, why, heading, callers: ours ? calls.slice(1) : calls };
  }
}

const SENTENCES = {
  select(timeout) {
    if (timeout === null) return 'Nothing is ready and no timer is set: the loop sleeps in the selector until a descriptor is ready';
    if (timeout === 0) return 'The loop asks the selector what is ready, without waiting: callbacks are waiting for their turn';
    return `Nothing is ready: the loop sleeps in the selector, for at most ${seconds(timeout)}, when the first timer is due`;
  },
  woke(events) {
    if (!events.length) return 'The selector returns: no descriptor is ready';
    const each = events.map(([fd, mask, waiting]) => `fd ${fd} is ${['', 'readable', 'writable', 'readable and writable'][mask]}${waiting > 0 ? ` (${waiting} bytes)` : ''}`);
    return `The selector returns: ${each.join(', ')}`;
  },
  due(handle) {
    return `A timer is due: ${this.handle(handle)} moves from the heap to the end of the ready queue`;
  },
  drop(handle) {
    return `The cancelled timer ${this.handle(handle)} is dropped from the top of the heap`;
  },
  heap() {
    return 'More than half of the timers are cancelled: the loop throws them out and makes the heap anew';
  },
  soon(handle, by) {
    return `${this.handle(handle)} is put at the end of the ready queue${by < 0 ? '' : `,${this.by(by)}`}`;
  },
  timer(handle, by, delay) {
    return `A timer is set: ${this.handle(handle)} is due in ${seconds(delay)}${this.by(by)}`;
  },
  cancel(handle) {
    return `The timer ${this.handle(handle)} is cancelled; it stays in the heap until it comes to the top`;
  },
  skip(handle) {
    return `${this.handle(handle)} was cancelled: the loop passes it over`;
  },
  run(handle) {
    const [, , task] = this.record.handles[handle];
    return task >= 0 ? `It is the turn of ${this.taskAndBody(task)}` : `The loop calls ${this.handle(handle)}`;
  },
  ran(handle) {
    return `${this.handle(handle)} has returned to the loop`;
  },
  create(task, by) {
    return `${this.taskAndBody(task)} is created${by < 0 ? '' : ` by ${this.task(by)}`}; it has not started yet`;
  },
  step(task) {
    return `${this.taskAndBody(task)} runs, until its next await that must wait`;
  },
  wait(task, future) {
    if (future < 0) return `${this.task(task)} gives up its turn, for one iteration`;
    return `${this.task(task)} waits for ${this.future(future)}`;
  },
  wake(task, future) {
    return `${this.future(future)} is done: ${this.task(task)}, which waited for it, is woken`.replace(/^./, (c) => c.toUpperCase());
  },
  done(task, outcome, text) {
    const how = { returned: 'has returned', raised: `has raised ${text}`, cancelled: 'ends as cancelled' }[outcome];
    return `${this.task(task)} is done: it ${how}`;
  },
  cancels(task, cancelling) {
    return cancelling > 0 ? `${this.task(task)} is asked to cancel: cancelling() is ${cancelling}` : `${this.task(task)} is not being cancelled any more: cancelling() is 0`;
  },
  fd(fd, reader, writer) {
    if (reader < 0 && writer < 0) return `The selector no longer watches fd ${fd}`;
    const what = [reader >= 0 ? `to read: ${this.handle(reader)}` : '', writer >= 0 ? `to write: ${this.handle(writer)}` : ''].filter(Boolean);
    return `The selector watches fd ${fd}, ${what.join('; ')}`;
  },
  unread(fd, bytes) {
    return `The reader of fd ${fd} has returned and has read nothing: ${bytes} bytes are still there`;
  },
  print(fd, text) {
    return `The program prints ${JSON.stringify(text.replace(/\n$/, ''))}${fd === 2 ? ' to stderr' : ''}`;
  },
};

if (typeof module !== 'undefined') module.exports = { Words, pretty, seconds };
