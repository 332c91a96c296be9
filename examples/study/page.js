// The page: one position in time, which all panes show.
'use strict';

class Page {
  constructor(record) {
    this.model = new Model(record);
    this.words = new Words(record);
    this.sources = new Sources(record);
    this.at = 0;
    this.limit = this.model.count - 1; // Predict hides what comes later
    this.describe();
    this.panes = new Panes(this.model, this.words, this.sources, (i) => this.go(i));
    this.timeline = new Timeline(this.model, this.words, (i) => this.go(i));
    this.listen();
    this.showFindings();
    this.quiz = new Quiz(this);
    this.go(this.fromAddress());
  }

  describe() {
    const { record, count, columns } = this.model;
    const name = (record.program ?? '').replace(/^.*\//, '').replace(/\.\w+$/, '') || 'a program';
    document.title = `${name}: the loop at work`;
    $('program').textContent = name;
    const last = this.model.events[count - 1][1] / 1e6;
    $('facts').textContent = [`the loop at work`, `${columns.length - 1} iterations`, `${record.tasks.length} tasks`, `${count.toLocaleString('en')} events`, seconds(last)].join(' · ');
    $('slider').max = count - 1;
  }

  go(i) {
    this.at = Math.max(0, Math.min(this.limit, i));
    this.panes.show(this.at);
    this.timeline.show(this.at);
    $('slider').value = this.at;
    $('slider').setAttribute('aria-valuetext', `event ${this.at + 1} of ${this.model.count}`);
    $('position').textContent = `${this.at + 1} / ${this.model.count}`;
    $('canvas').setAttribute('aria-label', `Timeline at iteration ${this.model.columns[this.model.columnOf[this.at]].n}: ${this.words.say(this.model.events[this.at])}`);
  }

  // page.html#120 opens at event 120.
  fromAddress() {
    const n = parseInt(location.hash.slice(1), 10);
    return Number.isFinite(n) ? n - 1 : 0;
  }

  iteration(step) {
    const column = this.model.columnOf[this.at];
    const { columns } = this.model;
    if (step > 0) return this.go(columns[column + 1]?.first ?? this.model.count - 1);
    const atStart = columns[column].first === this.at;
    this.go(columns[Math.max(0, column - (atStart ? 1 : 0))].first);
  }

  play(playing = !this.playing) {
    clearInterval(this.playing);
    this.playing = playing ? setInterval(() => (this.at < this.limit ? this.go(this.at + 1) : this.play(false)), 500) : 0;
    $('play').setAttribute('aria-pressed', String(Boolean(this.playing)));
  }

  listen() {
    const keys = {
      ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1), ArrowUp: () => this.iteration(-1), ArrowDown: () => this.iteration(1),
      Home: () => this.go(0), End: () => this.go(this.model.count - 1), ' ': () => this.play(), '+': () => this.timeline.zoom(1.25), '-': () => this.timeline.zoom(0.8),
      '/': () => $('search').focus(),
    };
    const buttons = { left: 'ArrowLeft', right: 'ArrowRight', up: 'ArrowUp', down: 'ArrowDown', home: 'Home', end: 'End', play: ' ', 'zoom-in': '+', 'zoom-out': '-' };
    for (const [id, key] of Object.entries(buttons)) $(id).addEventListener('click', keys[key]);
    addEventListener('keydown', (press) => {
      const { target } = press;
      if (press.ctrlKey || press.altKey || press.metaKey || !keys[press.key]) return;
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== 'range') return;
      if (press.key === ' ' && target.tagName === 'BUTTON') return;
      if (target.matches('.code, #printed') && /^(Arrow|Home|End)/.test(press.key)) return; // these scroll
      press.preventDefault();
      keys[press.key]();
    });
    $('slider').addEventListener('input', () => this.go(Number($('slider').value)));
    $('search').addEventListener('input', () => this.search($('search').value));
    $('search').addEventListener('keydown', (press) => press.key === 'Enter' && this.search($('search').value, 1));
    $('theme').addEventListener('click', () => this.theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (change) => this.theme(change.matches ? 'dark' : 'light'));
    for (const media of ['beforeprint', 'afterprint']) addEventListener(media, () => this.timeline.draw());
    addEventListener('hashchange', () => this.go(this.fromAddress()));
  }

  theme(name) {
    document.documentElement.dataset.theme = name;
    this.timeline?.draw();
  }

  // Shows the lanes whose task has the name, and goes to the next event that speaks of it.
  search(text, step = 0) {
    const wanted = text.trim().toLowerCase();
    const has = (name) => name.toLowerCase().includes(wanted);
    if (!wanted) {
      this.timeline.found = null;
      $('found').textContent = '';
      return this.timeline.draw();
    }
    const lanes = this.model.lanes.map((lane, k) => [k + 1, this.words.taskAndBody(lane.task)]).filter(([, name]) => has(name)).map(([k]) => k);
    const labels = this.model.record.handles.map((handle, id) => handle[2] < 0 && has(this.words.handle(id)));
    if (labels.some(Boolean)) lanes.push(0);
    this.timeline.found = new Set(lanes);
    $('found').textContent = lanes.length === 1 ? '1 lane' : `${lanes.length} lanes`;
    const speaks = (k) => has(this.words.say(this.model.events[k]));
    for (let n = 0, k = this.at + step; n < this.model.count; ++n, ++k) {
      const i = k % this.model.count;
      if (i <= this.limit && speaks(i)) return this.go(i);
    }
    this.timeline.draw();
  }

  showFindings() {
    const found = findings(this.model, this.words);
    $('findings-count').textContent = found.length ? String(found.length) : '';
    const none = element('li', { className: 'none', textContent: 'Nothing: no blocking callback, no task that never yields, nothing that was never awaited or retrieved, no swallowed cancel, no busy loop, no storm of callbacks, no descriptor that nobody reads.' });
    fill($('found-list'), found.length ? found.slice(0, 50).map(({ kind, event, text }) => {
      const frame = this.sources.frames(this.model, this.model.state(event), event).pop();
      const where = element('button', { className: 'where', textContent: `${frame ? `${frame[1]}:${frame[2]}, ` : ''}event ${event + 1}`, onclick: () => this.go(event) });
      const item = element('li', {}, element('b', { textContent: kind[0].toUpperCase() + kind.slice(1) }), element('span', { textContent: `${text} ` }), where);
      item.dataset.kind = kind;
      return item;
    }) : [none]);
  }
}

class Quiz {
  constructor(page) {
    this.page = page;
    this.invite();
  }

  invite() {
    document.body.classList.remove('predicting');
    fill($('quiz'), [
      element('p', { className: 'quiet', textContent: 'The page hides what comes next and asks: who runs, when, what is printed, how long does the loop sleep? The recording answers, and says why.' }),
      element('p', { style: 'margin-top:.7rem' }, element('button', { id: 'begin', className: 'go', textContent: 'Ask me', onclick: () => this.begin() })),
    ]);
  }

  begin() {
    this.page.play(false);
    this.questions ??= questions(this.page.model, this.page.words);
    this.right = 0;
    this.asked = 0;
    document.body.classList.add('predicting');
    this.ask();
    $('predict').scrollIntoView({ block: 'nearest' });
  }

  hide(limit) {
    const { page } = this;
    page.limit = limit;
    page.panes.hides = limit < page.model.count - 1;
    page.timeline.hidden = page.panes.hides ? limit : -1;
    $('slider').max = limit;
  }

  score() {
    $('score').textContent = this.asked ? `${this.right} of ${this.asked} right` : '';
  }

  ask() {
    const question = this.questions[this.asked];
    if (!question) return this.end();
    this.hide(Math.max(0, question.event));
    this.page.go(question.event);
    const options = question.options.map((text, k) => element('button', { onclick: () => this.answer(question, k) }, element('kbd', { textContent: k + 1 }), element('span', { textContent: text })));
    fill($('quiz'), [
      element('p', { className: 'quiet', textContent: `Question ${this.asked + 1} of ${this.questions.length}` }),
      element('p', { className: 'question', textContent: question.text }),
      element('div', { className: 'quiz-options' }, ...options),
      element('button', { textContent: 'Stop', onclick: () => this.end() }),
    ]);
    this.score();
  }

  answer(question, k) {
    const right = question.options[k] === question.answer;
    this.asked += 1;
    this.right += right;
    const buttons = [...$('quiz').querySelectorAll('.quiz-options button')];
    buttons.forEach((button, n) => {
      button.disabled = true;
      if (question.options[n] === question.answer) button.classList.add('right');
      else if (n === k) button.classList.add('wrong');
    });
    this.hide(question.shows);
    this.page.go(question.shows);
    const verdict = element('b', { className: right ? 'yes' : 'no', textContent: right ? 'Yes. ' : 'No. ' });
    const next = element('button', { className: 'go', textContent: this.asked < this.questions.length ? 'Next question' : 'The score', onclick: () => this.ask() });
    $('quiz').lastChild.remove();
    $('quiz').append(element('p', { className: 'why', role: 'status' }, verdict, question.why), next);
    next.focus({ preventScroll: true });
    this.score();
  }

  end() {
    this.hide(this.page.model.count - 1);
    document.body.classList.remove('predicting');
    this.score();
    const all = this.asked > 0 && this.right === this.asked;
    fill($('quiz'), [
      element('p', { className: 'question', textContent: this.asked ? `${this.right} of ${this.asked}.${all ? ' You think like the loop.' : ''}` : 'No question was answered.' }),
      element('p', { style: 'margin-top:.7rem' }, element('button', { className: 'go', textContent: 'Once more', onclick: () => this.begin() })),
    ]);
    this.page.go(this.page.at);
  }
}

document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
window.study = new Page(JSON.parse($('record').textContent));
