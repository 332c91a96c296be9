// What the panes show at one position in time.
'use strict';

const $ = (id) => document.getElementById(id);
const ROWS = 200; // more tasks, chips or lines than this are counted, not listed

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function fill(parent, nodes) {
  parent.replaceChildren(...nodes);
}

const isLittle = (file) => /\.txt$/.test(file);
const titled = (file) => (isLittle(file) ? file : `${isPython(file) ? 'Python' : 'C++'}: ${file}`);

class Panes {
  constructor(model, words, sources, go) {
    Object.assign(this, { model, words, sources, go });
    this.file = null; // whose lines the source pane has
    this.scrolls = []; // [box, what is to be in sight in it]
    this.fillFiles();
    if (sources.twin) this.fillCode($('twin'), sources.twin, isPython(model.record.twin[0]));
    $('twin-side').hidden = !sources.twin;
    $('twin-name').textContent = sources.twin ? titled(model.record.twin[0]) : '';
    $('file').addEventListener('change', () => this.showFile($('file').value));
  }

  show(i) {
    const state = this.model.state(i);
    const event = this.model.events[i];
    const loop = state.loop(event[2] < 0 ? this.loopBefore(i) : event[2]);
    this.showNow(i, event, loop);
    this.showRunning(loop);
    this.showReady(event, loop, state);
    this.showTimers(event, loop, state);
    this.showSelector(loop);
    this.showStack(state, loop, event);
    this.showTasks(state, loop);
    this.showLog(i);
    this.showLines(state, i);
    this.showPrinted(state, event);
    this.scroll();
  }

  loopBefore(i) {
    while (i > 0 && this.model.events[i][2] < 0) --i;
    return Math.max(0, this.model.events[i][2]);
  }

  showNow(i, event, loop) {
    const time = element('b', { textContent: seconds(event[1] / 1e6) });
    const loops = this.model.record.loops.length > 1 ? `loop ${Math.max(0, event[2]) + 1} · ` : '';
    fill($('when'), [`${loops}iteration `, element('b', { textContent: loop.iteration }), ' · event ', element('b', { textContent: i + 1 }), ` of ${this.model.count} · at `, time]);
    $('sentence').textContent = this.words.say(event);
    const { ours, detail, theirs, why, heading, callers } = this.words.upstream(event);
    $('callers').textContent = $('callers').title = callers.length ? `called by ${callers.join(', ')}` : '';
    if (!ours) return fill($('upstream'), [detail]);
    const link = element('a', { href: `${this.model.record.notesAt ?? '../../NOTES.md'}#${heading.replace(/[^\w-]/g, '')}`, textContent: heading ? 'its row in NOTES' : '' });
    if (why) link.title = why;
    fill($('upstream'), [element('code', { textContent: ours }), detail ? ` ${detail}` : '', theirs ? ' · upstream ' : '', element('code', { textContent: theirs }), heading ? ' · ' : '', heading ? link : '', why ? ` (${why})` : '']);
  }

  chip(text, more, className = '') {
    return element('li', { className: `chip ${className}` }, element('b', { textContent: text }), ...(more ? [element('span', { textContent: more })] : []));
  }

  // The line in which it was scheduled says more than its name.
  handleChip(handle, more, className) {
    const chip = this.chip(this.words.handle(handle), more, className);
    const at = this.words.line(this.model.record.handles[handle][3]);
    if (at) chip.title = (this.sources.lines[at[1]]?.[at[2] - 1] ?? '').trim();
    return chip;
  }

  none(text) {
    return element('span', { className: 'none', textContent: text });
  }

  showRunning(loop) {
    const what = loop.handle < 0 ? null : element('span', { className: 'chip run' }, element('b', { textContent: this.words.handle(loop.handle) }));
    const task = loop.handle < 0 ? -1 : this.model.record.handles[loop.handle][2];
    if (task >= 0) what.append(element('span', { textContent: pretty(this.model.task(task).func) }));
    const asleep = loop.phase === 'select' ? (loop.timeout === 0 ? 'nothing: the loop looks at the selector' : 'nothing: the loop sleeps in the selector') : 'nothing: the loop is between two callbacks';
    fill($('running'), [what ?? this.none(loop.iteration ? asleep : 'nothing: the loop does not run yet')]);
  }

  showReady(event, loop, state) {
    const chips = loop.ready.slice(0, ROWS).map((handle, k) => {
      const added = k === loop.ready.length - 1 && (event[0] === 'soon' || event[0] === 'due') && event[4] === handle;
      return this.handleChip(handle, '', `${added ? 'new' : ''} ${state.cancelled.has(handle) ? 'cancelled' : ''}`);
    });
    if (loop.ready.length > ROWS) chips.push(element('li', { className: 'none', textContent: `and ${loop.ready.length - ROWS} more` }));
    $('ready-count').textContent = loop.ready.length ? `${loop.ready.length}, the first is next` : '';
    fill($('ready'), chips.length ? chips : [element('li', {}, this.none('empty'))]);
  }

  // In seconds: the recording says how long the timer was to take when it was set.
  dueIn(timer, now) {
    const set = this.model.events[this.model.scheduled[timer.handle]?.[0]];
    return set ? (set[1] - now) / 1e6 + set[6] : 0;
  }

  showTimers(event, loop, state) {
    const due = (timer) => {
      const left = this.dueIn(timer, event[1]);
      return left > 0 ? `in ${seconds(left)}` : 'due';
    };
    const chips = loop.timers.slice(0, ROWS).map((timer) =>
      this.handleChip(timer.handle, state.cancelled.has(timer.handle) ? 'cancelled' : due(timer), `${event[0] === 'timer' && event[4] === timer.handle ? 'new' : ''} ${state.cancelled.has(timer.handle) ? 'cancelled' : ''}`));
    if (loop.timers.length > ROWS) chips.push(element('li', { className: 'none', textContent: `and ${loop.timers.length - ROWS} more` }));
    $('timers-count').textContent = loop.timers.length ? `${loop.timers.length}, in heap order` : '';
    fill($('timers'), chips.length ? chips : [element('li', {}, this.none('none'))]);
    fill($('tree'), loop.timers.length > 1 ? [this.tree(loop.timers.slice(0, 15), (timer) => seconds(Math.max(0, this.dueIn(timer, event[1]))))] : []);
  }

  // The heap as the tree that it is: the children of item k are 2k+1 and 2k+2.
  tree(timers, label) {
    const depth = Math.floor(Math.log2(timers.length)) + 1;
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const [wide, high] = [Math.max(220, 2 ** (depth - 1) * 62), depth * 38];
    const spot = (k) => {
      const level = Math.floor(Math.log2(k + 1));
      return [((k + 1 - 2 ** level + 0.5) / 2 ** level) * wide, level * 38 + 14];
    };
    const make = (tag, attributes) => {
      const node = svg.appendChild(document.createElementNS(svg.namespaceURI, tag));
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    timers.forEach((_, k) => {
      if (k === 0) return;
      const [[x1, y1], [x2, y2]] = [spot((k - 1) >> 1), spot(k)];
      make('line', { x1, y1, x2, y2 });
    });
    timers.forEach((timer, k) => {
      const [x, y] = spot(k);
      make('rect', { x: x - 28, y: y - 10, width: 56, height: 20, rx: 6 });
      make('text', { x, y: y + 3.5 }).textContent = label(timer);
    });
    svg.setAttribute('viewBox', `0 0 ${wide} ${high}`);
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', `The heap as a tree: ${timers.map(label).join(', ')}`);
    return svg;
  }

  showSelector(loop) {
    const rows = [...loop.fds].filter(([, fields]) => fields.reader !== undefined).map(([fd, { reader, writer, task, ready, waiting }]) => {
      const waits = [reader >= 0 ? 'read' : '', writer >= 0 ? 'write' : ''].filter(Boolean).join(', ');
      const whose = task >= 0 ? this.words.taskAndBody(task) : this.words.handle(reader >= 0 ? reader : writer).replace(/^(reader|writer)( of|,) /, '');
      return element('tr', { className: ready ? 'is-ready' : '' }, ...[fd, waits, whose, ready ? `ready${waiting > 0 ? `, ${waiting} bytes` : ''}` : ''].map((text) => element('td', { textContent: text })));
    });
    $('selector-state').textContent = loop.phase === 'select' ? (loop.timeout === 0 ? 'looks' : 'waits') : '';
    fill($('selector'), rows);
  }

  whoseStack(state, loop, event) {
    if (['create', 'wait', 'wake', 'done', 'cancels', 'step'].includes(event[0])) return event[4];
    if (loop.handle >= 0) return this.model.record.handles[loop.handle][2];
    return event[0] === 'ran' ? this.model.record.handles[event[4]][2] : -1;
  }

  showStack(state, loop, event) {
    const task = this.whoseStack(state, loop, event);
    $('stack-of').textContent = task < 0 ? '' : `of ${this.words.task(task)}, outermost first`;
    if (task < 0 || state.tasks[task]?.state === 'done') return fill($('stack'), [element('li', {}, this.none(task < 0 ? 'no task runs' : 'it has ended'))]);
    fill($('stack'), this.model.stack(state, task).map(([name, file, line]) => {
      const where = element('button', { textContent: `${file}:${line}`, onclick: () => (this.showFile(file, line), this.scroll()) });
      return element('li', {}, element('code', { textContent: pretty(name) }), '  ', file in this.sources.lines ? where : `${file}:${line}`);
    }));
  }

  showTasks(state, loop) {
    const ids = Object.keys(state.tasks).map(Number);
    $('tasks-table').hidden = ids.length === 0;
    const live = ids.filter((id) => state.tasks[id].state !== 'done');
    const shown = [...live, ...ids.filter((id) => state.tasks[id].state === 'done').reverse()].slice(0, ROWS);
    if (loop.task >= 0 && !shown.includes(loop.task)) shown.unshift(loop.task), shown.splice(ROWS);
    $('tasks-count').textContent = ids.length ? `${live.length} pending, ${ids.length - live.length} done${ids.length > ROWS ? `; ${ROWS} are listed` : ''}` : 'none yet';
    fill($('tasks'), shown.map((id) => {
      const { state: now, future, cancelling, outcome, text } = state.tasks[id];
      const what = now === 'done' ? outcome : cancelling > 0 ? 'cancelling' : now;
      const pill = element('span', { className: `pill ${what}`, textContent: cancelling > 0 && now !== 'done' ? `${now}, cancelling` : what });
      const waits = now === 'waiting' ? this.words.future(future) : now === 'ready' ? 'its turn' : text;
      const { name, func } = this.model.task(id);
      return element('tr', { className: id === loop.task ? 'current' : '' }, element('td', { textContent: name }), element('td', {}, element('code', { textContent: pretty(func) })), element('td', {}, pill), element('td', { textContent: waits }), element('td', { textContent: cancelling || '' }));
    }));
  }

  // The events of this iteration, or forty around this one.
  showLog(i) {
    const column = this.model.columnOf[i];
    let [from, to] = [i, i];
    while (from > 0 && i - from < 20 && this.model.columnOf[from - 1] === column) --from;
    while (!this.hides && to + 1 < this.model.count && to - i < 20 && this.model.columnOf[to + 1] === column) ++to;
    $('log-of').textContent = this.hides ? 'up to here' : 'event by event';
    const items = [];
    for (let k = from; k <= to; ++k) {
      const button = element('button', { textContent: this.words.say(this.model.events[k]), onclick: () => this.go(k) });
      if (k === i) button.setAttribute('aria-current', 'step');
      items.push(element('li', {}, button));
    }
    fill($('log'), items);
    this.scrollTo($('log'), $('log').children[i - from]);
  }

  scrollTo(box, child) {
    if (child) this.scrolls.push([box, child]);
  }

  // All is measured before anything is moved, so that the browser lays the page out once.
  scroll() {
    const moves = this.scrolls.map(([box, child]) => {
      const high = child.offsetHeight;
      const y = child.getBoundingClientRect().top - box.getBoundingClientRect().top + box.scrollTop;
      const inSight = y >= box.scrollTop + high && y + 2 * high <= box.scrollTop + box.clientHeight;
      return [box, inSight ? box.scrollTop : y - box.clientHeight / 2];
    });
    moves.push([$('printed'), $('printed').scrollHeight]);
    for (const [box, to] of moves) box.scrollTop = to;
    this.scrolls = [];
  }

  fillFiles() {
    const names = Object.keys(this.sources.lines).sort((a, b) => ROOMS.test(a) - ROOMS.test(b));
    fill($('file'), names.map((name) => element('option', { value: name, textContent: name })));
    $('source').hidden = names.length === 0;
    if (names.length) this.showFile(this.model.record.program in this.sources.lines ? this.model.record.program : names[0]);
  }

  fillCode(box, lines, python) {
    fill(box, lines.map((line, k) => {
      const row = element('div', {}, coloured(line, python));
      row.dataset.line = k + 1;
      return row;
    }));
  }

  showFile(file, line = 0) {
    if (this.file !== file) {
      this.file = file;
      $('file').value = file;
      $('cpp-name').textContent = titled(file);
      this.fillCode($('cpp'), this.sources.lines[file], isPython(file) || isLittle(file));
    }
    if (line) this.mark($('cpp'), line, []);
  }

  mark(box, line, others) {
    for (const row of box.querySelectorAll('.at, .weak')) row.className = '';
    for (const other of others) if (other > 0) box.children[other - 1]?.classList.add('weak');
    if (line > 0) {
      box.children[line - 1]?.classList.add('at');
      this.scrollTo(box, box.children[line - 1]);
    }
  }

  showLines(state, i) {
    const frames = this.sources.frames(this.model, state, i);
    const at = frames[frames.length - 1];
    if (at) this.showFile(at[1]);
    this.mark($('cpp'), at ? at[2] : 0, at ? frames.slice(0, -1).filter((frame) => frame[1] === at[1]).map((frame) => frame[2]) : []);
    if (this.sources.twin) this.mark($('twin'), at ? this.sources.twinLine(at) : 0, at ? frames.slice(0, -1).map((frame) => this.sources.twinLine(frame)) : []);
  }

  showPrinted(state, event) {
    const lines = this.model.printed(state, 400);
    $('output-count').textContent = state.prints ? `${state.prints} ${state.prints === 1 ? 'line' : 'lines'}` : '';
    fill($('printed'), lines.length ? lines.map(([k, fd, text], n) => element('span', { className: `${fd === 2 ? 'err' : ''} ${event[0] === 'print' && n === lines.length - 1 ? 'last' : ''}`, textContent: text })) : [this.none('nothing yet')]);
  }
}
