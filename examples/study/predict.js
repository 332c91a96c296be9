// Questions about what comes next, whose answers are in the recording.
'use strict';

const QUESTIONS = 10;

// The same order on every load, and not one that gives the answer away.
function shuffled(items, seed) {
  const order = items.map((item, k) => [Math.sin(seed * 12.9898 + k * 78.233) * 43758.5453 % 1, item]);
  return order.sort((a, b) => a[0] - b[0]).map(([, item]) => item);
}

// {event, text, options, answer, why, shows}: asked after `event`; the answer is seen at the event `shows`.
function questions(model, words) {
  const all = { who: [], when: [], print: [], sleep: [] };
  const state = new State();
  const every = Math.max(1, Math.floor(model.count / 20000)); // of a long recording not every event is looked at
  model.events.forEach((event, i) => {
    const loop = event[2] < 0 ? null : state.loop(event[2]);
    const ask = (kind, question) => {
      const options = [...new Set([question.answer, ...question.others])].filter((text) => text !== undefined).slice(0, 4);
      if (options.length > 1) all[kind].push({ ...question, event: i - 1, shows: question.shows ?? i, options: shuffled(options, i) });
    };
    if (loop && i % every === 0 && ASK[event[0]]) ASK[event[0]](model, words, state, loop, event, i, ask);
    state.apply(event);
  });
  const per = Math.ceil(QUESTIONS / Object.values(all).filter((list) => list.length).length || 1);
  const chosen = Object.values(all).flatMap((list) => spread(list, per));
  return spread(chosen.sort((a, b) => a.event - b.event), QUESTIONS);
}

function spread(list, n) {
  if (list.length <= n) return list;
  return Array.from({ length: n }, (_, k) => list[Math.floor((k * list.length) / n)]);
}

const ASK = {
  run(model, words, state, loop, event, i, ask) {
    const handle = event[4];
    const cause = model.cause(handle, i);
    const others = loop.ready.slice(1, 6).filter((other) => other !== handle).map((other) => words.handle(other));
    const waiting = [];
    for (let id = state.tasks.length - 1; id >= 0 && waiting.length < 3; --id) if (state.tasks[id]?.state === 'waiting') waiting.push(words.task(id));
    if (others.length + waiting.length === 0) return;
    const since = cause >= 0 ? `It was put there ${model.columnOf[cause] === model.columnOf[i] ? 'in this iteration' : `in iteration ${model.columns[model.columnOf[cause]].n}`}${model.events[cause][5] >= 0 ? `${words.by(model.events[cause][5])}` : ''}. ` : '';
    ask('who', {
      text: 'Which callback runs next?', answer: words.handle(handle), others: [...others, ...waiting],
      why: `${words.handle(handle)} is the first in the ready queue. ${since}The queue is first in, first out; who waits is not in it.`,
    });
  },
  wake(model, words, state, loop, event, i, ask) {
    ASK.create(model, words, state, loop, event, i, ask);
  },
  create(model, words, state, loop, event, i, ask) {
    const task = event[4];
    const step = Model.after(model.steps[task], i);
    if (step < 0 || loop.phase === 'before') return;
    const n = model.columns[model.columnOf[step]].n;
    const now = loop.iteration;
    ask('when', {
      text: `${words.task(task)} ${event[0] === 'wake' ? 'is being woken' : 'is being created'}, in iteration ${now}. In which iteration does it run?`,
      answer: `iteration ${n}`, others: [now, now + 1, now + 2, now + 3].map((k) => `iteration ${k}`), shows: step,
      why: loop.phase === 'run'
        ? `In iteration ${n}. A task that is ${event[0] === 'wake' ? 'woken' : 'created'} is put at the end of the ready queue; run_once runs exactly what was in the queue when it began with it, so what callbacks add is left to the next iteration.`
        : `In iteration ${n}: it is put into the queue before the callbacks of this iteration run.`,
    });
  },
  print(model, words, state, loop, event, i, ask) {
    const line = (k) => model.events[k][5].replace(/\n$/, '');
    const at = state.prints;
    const others = model.prints.slice(at + 1, at + 12).map(line).filter((text) => text.trim());
    if (!event[5].trim() || event[4] !== 1) return;
    const who = loop.task >= 0 ? words.taskAndBody(loop.task) : loop.handle >= 0 ? words.handle(loop.handle) : 'the program, outside of callbacks';
    const place = words.line(event[3]);
    ask('print', {
      text: 'What is printed next?', answer: line(i), others,
      why: `It is the turn of ${who}, which prints it${place ? ` in line ${place[2]}` : ''}. A turn lasts until the next await that must wait.`,
    });
  },
  select(model, words, state, loop, event, i, ask) {
    const timeout = event[4];
    const say = (t) => (t === null ? 'until a descriptor is ready' : t === 0 ? 'not at all: it only looks' : `at most ${seconds(t)}`);
    const first = loop.timers.slice(0, 3).map((timer) => {
      const set = model.events[model.cause(timer.handle, i)];
      return set ? say(Math.max(0, (set[1] - event[1]) / 1e6 + set[6])) : undefined;
    });
    if (loop.iteration === 0) return;
    const why = timeout === 0 ? 'The ready queue is not empty: its callbacks must not wait, so the selector is asked with a timeout of 0.'
      : timeout === null ? 'Nothing is ready and no timer is set: only a descriptor, a signal or another thread can wake the loop.'
        : `Nothing is ready. The first timer of the heap, ${words.handle(loop.timers[0]?.handle ?? -1)}, is due then.`;
    ask('sleep', { text: 'How long may the loop sleep now?', answer: say(timeout), others: [say(0), say(null), ...first.slice(timeout ? 1 : 0)], why });
  },
};

if (typeof module !== 'undefined') module.exports = { questions };
