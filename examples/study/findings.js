// What a recording shows to be wrong with a program. Each finding names the event and says why.
'use strict';

const LIMITS = { blocking: 100e3, yields: 100, storm: 100, unread: 20 }; // microseconds; in a row

function findings(model, words) {
  const found = [];
  const add = (kind, event, text) => found.push({ kind, event, text });
  for (const find of FINDERS) find(model, words, add);
  return found.sort((a, b) => a.event - b.event);
}

// A callback that takes long; if it is the only step of a task that never waits, the task is told to yield.
function findBlocking(model, words, add) {
  const began = new Map();
  const steps = new Map(); // task -> how often it has waited
  model.events.forEach(([kind, time, loop, , a], i) => {
    if (kind === 'wait') steps.set(a, (steps.get(a) ?? 0) + 1);
    if (kind === 'run') began.set(loop, [i, time]);
    if (kind !== 'ran' || !began.has(loop)) return;
    const [from, start] = began.get(loop);
    if (time - start < LIMITS.blocking) return;
    const task = model.record.handles[a][2];
    const never = task >= 0 && !steps.has(task) && model.record.tasks[task][4] === loop;
    const took = `${seconds((time - start) / 1e6)}, and nothing else could run`;
    if (never) add('task that never yields', from, `${words.taskAndBody(task)} ran from its start to its end without one await that waits: ${took}. Let it await sleep(0) now and then, or run it in a thread.`);
    else add('blocking callback', from, `${task >= 0 ? words.taskAndBody(task) : words.handle(a)} took ${took}. Await what it waits for, or run it in a thread.`);
  });
}

const REPORTS = [
  ['never awaited', /coroutine '([^']*)' was never awaited/, (m) => `${pretty(m[1].replace(/.*<locals>\./, ''))} was called and never awaited: its body has never run.`],
  ['exception never retrieved', /(Task|Future) exception was never retrieved/, (m) => `Nobody has asked this ${m[1].toLowerCase()} for its result: the exception would have been lost.`],
];

// What the library itself says on stderr.
function findReports(model, words, add) {
  for (const i of model.prints) {
    const [, , , , fd, text] = model.events[i];
    if (fd !== 2) continue;
    for (const [kind, pattern, say] of REPORTS) {
      const match = pattern.exec(text);
      if (!match) continue;
      const next = model.events[i + 1];
      const named = next?.[0] === 'print' && /^future:/.test(next[5]) ? ` ${next[5].trim()}` : '';
      add(kind, i, say(match) + named);
    }
  }
}

function findSwallowed(model, words, add) {
  const cancelling = new Map();
  model.events.forEach(([kind, , , , a, b], i) => {
    if (kind === 'cancels') cancelling.set(a, b);
    if (kind === 'done' && b !== 'cancelled' && (cancelling.get(a) ?? 0) > 0) {
      add('swallowed cancel', i, `${words.taskAndBody(a)} was asked to cancel, caught the CancelledError and ended as if nothing had been said. Raise it again, or call uncancel().`);
    }
  });
}

// A task that gives up its turn again and again, while the loop never sleeps.
function findBusy(model, words, add) {
  const turns = new Map();
  model.events.forEach(([kind, , loop, , a, b], i) => {
    if (kind === 'select' && a !== 0) turns.clear();
    if (kind !== 'wait') return;
    turns.set(a, b < 0 ? (turns.get(a) ?? 0) + 1 : 0);
    if (turns.get(a) === LIMITS.yields) add('busy loop of sleep(0)', i, `${words.taskAndBody(a)} has awaited sleep(0) ${LIMITS.yields} times in a row, and the loop could never sleep. Await what it waits for.`);
  });
}

// A callback that schedules a callback that schedules a callback, each at once.
function findStorm(model, words, add) {
  const depth = new Map();
  let told = false;
  model.events.forEach(([kind, , , , a, b], i) => {
    if (kind !== 'soon' || model.record.handles[a][2] >= 0) return;
    const by = b >= 0 && model.record.handles[b][2] < 0 ? (depth.get(b) ?? 0) + 1 : 0;
    depth.set(a, by);
    if (by < LIMITS.storm || told) return;
    told = true;
    add('callback storm', i, `${words.handle(a)} was scheduled by a callback that was scheduled by a callback … ${by} times in a row: the loop is always busy. Use call_later, or stop at some time.`);
  });
}

// A descriptor that is reported again and again, and whose reader does not read.
function findUnread(model, words, add) {
  const times = new Map();
  const bytes = new Map();
  model.events.forEach(([kind, , , , a, b], i) => {
    if (kind === 'woke') {
      const ready = new Set(a.map(([fd]) => fd));
      for (const fd of times.keys()) if (!ready.has(fd)) times.delete(fd);
    }
    if (kind !== 'unread') return;
    times.set(a, b >= (bytes.get(a) ?? 0) ? (times.get(a) ?? 0) + 1 : 1);
    bytes.set(a, b);
    if (times.get(a) === LIMITS.unread) add('descriptor ready and nobody reads', i, `The selector has reported fd ${a} ${LIMITS.unread} times in a row, and its reader has left all ${b} bytes: the loop can never sleep. Read them, or remove the reader.`);
  });
}

const FINDERS = [findBlocking, findReports, findSwallowed, findBusy, findStorm, findUnread];

if (typeof module !== 'undefined') module.exports = { findings };
