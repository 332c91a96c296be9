// The state of the program after each event of a recording. Knows nothing of the page, so that it can be tested alone.
// An event is [kind, microseconds, loop, place, ...arguments]; README.md says which arguments a kind has.
'use strict';

const KEYFRAME = 1500; // events between two states that are kept

// Python's heapq, on items with a `when`: the timers stand on the page as they stand in the loop.
function heapSiftdown(heap, start, position) {
  const item = heap[position];
  while (position > start) {
    const parent = (position - 1) >> 1;
    if (!(item.when < heap[parent].when)) break;
    heap[position] = heap[parent];
    position = parent;
  }
  heap[position] = item;
}

function heapPush(heap, item) {
  heap.push(item);
  heapSiftdown(heap, 0, heap.length - 1);
}

function heapPop(heap) {
  const last = heap.pop();
  if (heap.length === 0) return last;
  const first = heap[0];
  let position = 0;
  for (let child = 1; child < heap.length; child = 2 * position + 1) {
    if (child + 1 < heap.length && !(heap[child].when < heap[child + 1].when)) ++child;
    heap[position] = heap[child];
    position = child;
  }
  heap[position] = last;
  heapSiftdown(heap, 0, position);
  return first;
}

// Its entries are replaced, never changed: states may share them.
class State {
  constructor() {
    this.loops = [];
    this.tasks = []; // {state, future, stack, cancelling, outcome, text}
    this.done = []; // by future
    this.cancelled = new Set(); // handles
    this.prints = 0;
  }

  copy() {
    const other = new State();
    other.loops = this.loops.map((loop) => loop && { ...loop, ready: loop.ready.slice(), timers: loop.timers.slice(), fds: new Map(loop.fds) });
    other.tasks = this.tasks.slice();
    other.done = this.done.slice();
    other.cancelled = new Set(this.cancelled);
    other.prints = this.prints;
    return other;
  }

  loop(id) {
    return (this.loops[id] ??= { iteration: 0, phase: 'before', timeout: 0, handle: -1, task: -1, ready: [], timers: [], fds: new Map() });
  }

  change(task, changes) {
    this.tasks[task] = { ...this.tasks[task], ...changes };
  }

  apply([kind, , loopId, , a, b, c, d]) {
    const apply = APPLY[kind];
    if (apply) apply(this, loopId < 0 ? null : this.loop(loopId), a, b, c, d);
  }
}

const APPLY = {
  select(state, loop, timeout) {
    Object.assign(loop, { iteration: loop.iteration + 1, phase: 'select', timeout });
  },
  woke(state, loop, events) {
    loop.phase = 'events';
    for (const [fd, fields] of loop.fds) if (fields.ready) loop.fds.set(fd, { ...fields, ready: 0 });
    for (const [fd, mask, waiting] of events) loop.fds.set(fd, { ...loop.fds.get(fd), ready: mask, waiting });
  },
  due(state, loop) {
    loop.phase = 'timers';
    loop.ready.push(heapPop(loop.timers).handle);
  },
  drop(state, loop) {
    heapPop(loop.timers);
  },
  heap(state, loop, handles) {
    const when = new Map(loop.timers.map((timer) => [timer.handle, timer.when]));
    loop.timers = handles.map((handle) => ({ handle, when: when.get(handle) }));
  },
  soon(state, loop, handle) {
    loop.ready.push(handle);
  },
  timer(state, loop, handle, by, delay, when) {
    heapPush(loop.timers, { handle, when });
  },
  cancel(state, loop, handle) {
    state.cancelled.add(handle);
  },
  skip(state, loop) {
    loop.ready.shift();
  },
  run(state, loop, handle) {
    loop.ready.shift();
    Object.assign(loop, { phase: 'run', handle });
  },
  ran(state, loop) {
    Object.assign(loop, { handle: -1, task: -1 });
  },
  fd(state, loop, fd, reader, writer, task) {
    if (reader < 0 && writer < 0) loop.fds.delete(fd);
    else loop.fds.set(fd, { ...loop.fds.get(fd), reader, writer, task: task < 0 ? (loop.fds.get(fd)?.task ?? -1) : task });
  },
  create(state, loop, task) {
    state.tasks[task] = { state: 'ready', future: -1, stack: -1, cancelling: 0, outcome: '', text: '', woken: false };
  },
  step(state, loop, task) {
    state.change(task, { state: 'running' });
    loop.task = task;
  },
  wait(state, loop, task, future, stack) {
    state.change(task, { state: future < 0 ? 'ready' : 'waiting', future, stack });
    if (loop.task === task) loop.task = -1;
  },
  wake(state, loop, task, future) {
    state.change(task, { state: 'ready' });
    state.done[future] = true;
  },
  done(state, loop, task, outcome, text) {
    state.change(task, { state: 'done', future: -1, outcome, text });
    if (loop.task === task) loop.task = -1;
  },
  cancels(state, loop, task, cancelling) {
    state.change(task, { cancelling });
  },
  print(state) {
    state.prints += 1;
  },
};

class Model {
  constructor(record) {
    this.record = record;
    this.events = record.events;
    this.count = record.events.length;
    this.keyframes = [];
    this.columns = []; // iterations: {loop, n, first, slept, timeout}, and one for what comes before a loop runs
    this.columnOf = new Int32Array(this.count);
    this.lanes = []; // by task: {task, from, to, runs: [{column, from, to}], waits: [{from, to, future}], cancels: [[event, cancelling]]}
    this.callbacks = []; // runs of callbacks that are no tasks: {column, from, to, handle}
    this.arrows = []; // {event, kind, by, task, from, to}: columns
    this.prints = []; // events
    this.scheduled = []; // by handle: the events that queued it or set its timer
    this.steps = []; // by task: the events that are its steps
    this.walk();
    this.cached = null;
  }

  walk() {
    const state = new State();
    const column = []; // by loop
    const open = new Map(); // lane or handle -> its run that has begun
    const waiting = new Map(); // task -> its wait that has begun
    const pending = new Map(); // task -> its arrow that has not arrived
    let last = 0;
    this.columns.push({ loop: 0, n: 0, first: 0, slept: 0, timeout: 0 });
    for (let i = 0; i < this.count; ++i) {
      if (i % KEYFRAME === 0) this.keyframes.push(state.copy());
      const event = this.events[i];
      const [kind, time, loop, , a, b] = event;
      if (kind === 'select') {
        column[loop] = this.columns.push({ loop, n: state.loop(loop).iteration + 1, first: i, slept: 0, timeout: a, began: time }) - 1;
      }
      const here = loop < 0 ? last : (column[loop] ?? 0);
      last = here;
      this.columnOf[i] = here;
      if (kind === 'woke') this.columns[here].slept = time - this.columns[here].began;
      if (kind === 'print') this.prints.push(i);
      if (kind === 'soon' || kind === 'timer') (this.scheduled[a] ??= []).push(i);
      if (kind === 'step') (this.steps[a] ??= []).push(i);
      const by = loop < 0 ? -1 : state.loop(loop).task;
      if (kind === 'create') {
        this.lanes[a] = { task: a, from: here, to: -1, born: i, runs: [], waits: [], cancels: [] };
        this.arrow(pending, { event: i, kind, by: b, task: a, from: here, to: -1 });
      }
      const lane = this.lanes[a];
      if (kind === 'cancels' && lane) lane.cancels.push([i, b]);
      if (kind === 'wake') this.arrow(pending, { event: i, kind, by, task: a, from: here, to: -1 });
      if (kind === 'step' && lane) {
        open.set('task' + a, { column: here, from: i, to: i });
        if (pending.has(a)) pending.get(a).to = here;
        pending.delete(a);
        if (waiting.has(a)) lane.waits.push({ ...waiting.get(a), to: here });
        waiting.delete(a);
      }
      if (kind === 'wait' || kind === 'done') {
        const run = open.get('task' + a);
        if (run && lane) lane.runs.push({ ...run, to: i });
        open.delete('task' + a);
        if (kind === 'wait') waiting.set(a, { from: here, to: here, future: b, event: i });
        if (kind === 'done' && lane) Object.assign(lane, { to: here, died: i, outcome: b });
      }
      if (kind === 'run' && this.record.handles[a][2] < 0) open.set('handle', { column: here, from: i, to: i, handle: a });
      if (kind === 'ran' && open.get('handle')?.handle === a) {
        this.callbacks.push({ ...open.get('handle'), to: i });
        open.delete('handle');
      }
      state.apply(event);
    }
    for (const [task, wait] of waiting) if (this.lanes[task]?.to < 0) this.lanes[task].waits.push({ ...wait, to: this.columns.length - 1 });
    this.lanes = this.lanes.filter(Boolean);
    for (const lane of this.lanes) if (lane.to < 0) lane.to = this.columns.length - 1;
    this.arrows = this.arrows.filter((arrow) => arrow.to >= 0);
  }

  arrow(pending, arrow) {
    this.arrows.push(arrow);
    pending.set(arrow.task, arrow);
  }

  // The state after event i; -1: before the first.
  state(i) {
    if (this.cached && this.cached.i <= i && i - this.cached.i < KEYFRAME) {
      for (let k = this.cached.i + 1; k <= i; ++k) this.cached.state.apply(this.events[k]);
      this.cached.i = i;
      return this.cached.state;
    }
    const keyframe = Math.max(0, Math.floor(i / KEYFRAME));
    const state = (this.keyframes[keyframe] ?? new State()).copy();
    for (let k = keyframe * KEYFRAME; k <= i; ++k) state.apply(this.events[k]);
    this.cached = { i, state };
    return state;
  }

  // The last of the sorted events that is before this one, or the first that is after it; -1: none.
  static before(events = [], i) {
    let [from, to] = [0, events.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (events[middle] < i) from = middle + 1;
      else to = middle;
    }
    return events[from - 1] ?? -1;
  }

  static after(events = [], i) {
    let [from, to] = [0, events.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (events[middle] <= i) from = middle + 1;
      else to = middle;
    }
    return events[from] ?? -1;
  }

  // The event that put a handle where it is: into the queue, or among the timers.
  cause(handle, i) {
    return Model.before(this.scheduled[handle], i);
  }

  task(id) {
    const [name, func, file, line] = this.record.tasks[id];
    return { name, func, file, line };
  }

  // The stack of a task, outermost first: [function, file, line]. Before its first await that is its function.
  stack(state, id) {
    const known = state.tasks[id]?.stack ?? -1;
    if (known >= 0) return this.record.stacks[known];
    const { func, file, line } = this.task(id);
    return [[func, file, line]];
  }

  // What has been printed before event i is over: [event, fd, text].
  printed(state, limit) {
    return this.prints.slice(Math.max(0, state.prints - limit), state.prints).map((i) => [i, this.events[i][4], this.events[i][5]]);
  }
}

if (typeof module !== 'undefined') module.exports = { Model, State, heapPush, heapPop };
