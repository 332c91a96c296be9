// The timeline: only what is in sight is drawn, and from one event to the next only what is different.
'use strict';

const LABELS = Math.min(168, Math.max(104, innerWidth * 0.12)), HEAD = 34, LANE = 26, FAR = 12; // an arrow that ends further away than that is not drawn: dashes are dear

class Timeline {
  constructor(model, words, pick) {
    this.model = model;
    this.words = words;
    this.canvas = document.getElementById('canvas');
    this.above = document.getElementById('above'); // what is different from event to event
    this.scroller = document.getElementById('scroller');
    this.room = document.getElementById('room');
    this.width = Math.max(14, Math.min(150, (this.scroller.clientWidth - LABELS - 14) / Math.max(1, model.columns.length)));
    this.found = null; // lanes that the search has found
    this.hidden = -1; // from this event on nothing is drawn: Predict
    this.at = 0;
    this.drawn = []; // the view that the canvas shows
    this.laneOf = new Map(model.lanes.map((lane, i) => [lane.task, i + 1]));
    this.scroller.addEventListener('scroll', () => this.isDrawn() || this.draw());
    new ResizeObserver(() => this.layout()).observe(this.scroller);
    this.canvas.addEventListener('click', (click) => pick(this.eventAt(click.offsetX, click.offsetY)));
    this.scroller.addEventListener('wheel', (wheel) => {
      if (!wheel.ctrlKey) return;
      wheel.preventDefault();
      this.zoom(wheel.deltaY < 0 ? 1.25 : 0.8);
    }, { passive: false });
    this.layout();
  }

  zoom(factor) {
    this.width = Math.max(3, Math.min(160, this.width * factor));
    this.layout();
    this.show(this.at);
  }

  layout() {
    const lanes = this.model.lanes.length + 1;
    const height = HEAD + lanes * LANE + 8;
    this.room.style.width = `${LABELS + this.model.columns.length * this.width + 12}px`;
    const shown = Math.min(height, Math.max(150, Math.round(innerHeight * 0.38)));
    this.room.style.height = `${Math.max(0, height - shown)}px`;
    const scale = devicePixelRatio || 1;
    const wide = this.scroller.clientWidth;
    for (const canvas of [this.canvas, this.above]) {
      canvas.style.width = `${wide}px`;
      canvas.style.height = `${shown}px`;
      canvas.width = Math.round(wide * scale);
      canvas.height = Math.round(shown * scale);
    }
    this.draw();
  }

  // Within its column an event stands where it stands among the column's events.
  x(event) {
    const column = this.model.columnOf[event];
    const from = this.model.columns[column].first;
    const to = this.model.columns[column + 1]?.first ?? this.model.count;
    const inset = Math.min(6, this.width * 0.12);
    return LABELS + column * this.width + inset + Math.min(1, (event - from) / Math.max(1, to - from)) * (this.width - 2 * inset);
  }

  y(lane) {
    return HEAD + lane * LANE + LANE / 2;
  }

  eventAt(offsetX, offsetY) {
    const x = offsetX + this.scroller.scrollLeft;
    const column = Math.max(0, Math.min(this.model.columns.length - 1, Math.floor((x - LABELS) / this.width)));
    const lane = Math.floor((offsetY + this.scroller.scrollTop - HEAD) / LANE);
    const runs = lane === 0 ? this.model.callbacks : (this.model.lanes[lane - 1]?.runs ?? []);
    const here = runs.filter((run) => run.column === column).sort((a, b) => Math.abs(this.x(a.from) - x) - Math.abs(this.x(b.from) - x));
    return here.length && offsetY > HEAD ? here[0].from : this.model.columns[column].first;
  }

  // Scrolls so that the event is in sight.
  show(event) {
    this.at = event;
    const x = this.x(event);
    const { scrollLeft, clientWidth, scrollTop } = this.scroller;
    if (x < scrollLeft + LABELS + 20 || x > scrollLeft + clientWidth - 40) this.scroller.scrollLeft = x - LABELS - (clientWidth - LABELS) / 2;
    const [kind, , , , a] = this.model.events[event];
    const task = kind === 'run' || kind === 'soon' ? this.model.record.handles[a][2] : ['step', 'create', 'wake', 'wait', 'done'].includes(kind) ? a : -1;
    const lane = this.laneOf.get(task);
    const high = this.canvas.clientHeight;
    if (lane && (this.y(lane) - LANE < scrollTop + HEAD || this.y(lane) + LANE > scrollTop + high)) this.scroller.scrollTop = this.y(lane) - high / 2;
    this.isDrawn() ? this.drawNow() : this.draw();
  }

  // What the canvas depends on, beside sizes and colours: who changes these calls draw().
  view() {
    return [this.scroller.scrollLeft, this.scroller.scrollTop, this.hidden, this.found];
  }

  isDrawn() {
    return this.view().every((part, k) => part === this.drawn[k]);
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(['paper', 'sunk', 'ink', 'soft', 'line', 'run', 'run-soft', 'ready', 'wait', 'good', 'bad', 'cancel', 'sleep', 'mark'].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const pen = this.canvas.getContext('2d');
    const wide = this.canvas.width / scale;
    const high = this.canvas.height / scale;
    const [left, top] = (this.drawn = this.view());
    const colour = (this.colour = this.colours());
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = colour.paper;
    pen.fillRect(0, 0, wide, high);
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = 'middle';
    const first = Math.max(0, Math.floor(left / this.width));
    const last = Math.min(this.model.columns.length - 1, Math.ceil((left + wide) / this.width));
    const upTo = this.hidden < 0 ? this.model.count : this.hidden;

    pen.save();
    pen.translate(-left, 0);
    this.drawColumns(pen, colour, first, last, high, upTo);
    pen.beginPath();
    pen.rect(left, HEAD, wide, high - HEAD);
    pen.clip();
    pen.translate(0, -top);
    const firstLane = Math.max(0, Math.floor(top / LANE));
    const lastLane = Math.min(this.model.lanes.length, Math.ceil((top + high) / LANE));
    for (let lane = firstLane; lane <= lastLane; ++lane) this.drawLane(pen, colour, lane, first, last, upTo);
    this.drawArrows(pen, first, last, firstLane, lastLane, upTo);
    pen.restore();
    this.drawLabels(pen, colour, firstLane, lastLane, top, high);
    this.drawNow();
  }

  // Where the event is, and the arrow that leaves from it.
  drawNow() {
    const scale = devicePixelRatio || 1;
    const pen = this.above.getContext('2d');
    const [wide, high] = [this.above.width / scale, this.above.height / scale];
    const [left, top] = this.drawn;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, HEAD, wide - LABELS, high - HEAD);
    pen.clip();
    pen.translate(-left, -top);
    const arrow = this.model.arrows[firstAt(this.model.arrows, this.at, 'event')];
    Object.assign(pen, { strokeStyle: this.colour.ready, lineWidth: 2.5 });
    if (arrow?.event === this.at) this.drawArrow(pen, arrow);
    pen.restore();
    this.drawCursor(pen, this.colour, left, high);
  }

  drawColumns(pen, colour, first, last, high, upTo) {
    const every = Math.max(1, Math.ceil(34 / this.width));
    for (let column = first; column <= last; ++column) {
      const { n, slept, first: event } = this.model.columns[column];
      if (event > upTo) break;
      const x = LABELS + column * this.width;
      if (slept > 50) {
        pen.fillStyle = colour.sleep;
        pen.fillRect(x, HEAD, Math.max(2, Math.min(this.width * 0.45, 3 + Math.log10(slept) * this.width * 0.07)), high);
      }
      pen.fillStyle = colour.line;
      if (this.width > 7) pen.fillRect(x, HEAD - 8, 1, high);
      if (column % every) continue;
      pen.fillStyle = colour.soft;
      pen.textAlign = 'left';
      if (n > 0) pen.fillText(String(n), x + 4, 12);
      if (slept > 50 && this.width > 44) pen.fillText(seconds(slept / 1e6), x + 4, 26);
    }
  }

  drawLane(pen, colour, number, first, last, upTo) {
    const y = this.y(number);
    const lane = this.model.lanes[number - 1];
    if (this.found && !this.found.has(number)) pen.globalAlpha = 0.25;
    const runs = lane ? lane.runs : this.model.callbacks;
    if (lane && lane.born < upTo) this.drawLife(pen, colour, lane, y, first, last, upTo);
    for (let i = firstAt(runs, first); i < runs.length && runs[i].column <= last; ++i) {
      const run = runs[i];
      if (run.from > upTo) break;
      const x = this.x(run.from);
      const w = Math.max(Math.min(7, this.width * 0.6), this.x(Math.min(run.to, upTo)) - x);
      const ends = lane && lane.died === run.to && lane.died <= upTo;
      pen.fillStyle = ends ? colour[{ returned: 'good', raised: 'bad', cancelled: 'cancel' }[lane.outcome]] : lane ? colour.run : colour.soft;
      pen.beginPath();
      pen.roundRect(x, y - 7, w, 14, Math.min(4, w / 2));
      pen.fill();
    }
    pen.globalAlpha = 1;
  }

  // A thin line from its creation to its end: grey while it waits, amber while it is ready and has not run, orange while it
  // is being cancelled.
  drawLife(pen, colour, lane, y, first, last, upTo) {
    const end = Math.min(lane.died ?? this.model.count - 1, upTo);
    const line = (from, to, stroke, wide) => {
      pen.strokeStyle = stroke;
      pen.lineWidth = wide;
      pen.beginPath();
      pen.moveTo(from, y);
      pen.lineTo(to, y);
      pen.stroke();
    };
    if (lane.from > last || this.model.columnOf[end] < first) return;
    line(this.x(lane.born), this.x(end), colour.ready, 2);
    for (let i = firstAt(lane.waits, first, 'to'); i < lane.waits.length && lane.waits[i].from <= last; ++i) {
      const wait = lane.waits[i];
      if (wait.future < 0 || wait.event > upTo) continue;
      const [from, to] = [this.x(wait.event), Math.min(this.x(end), this.woken(lane, wait, end))];
      line(from, to, colour.paper, 4);
      line(from, to, colour.wait, 2);
      this.drawReason(pen, colour, this.words.future(wait.future), from + 8, to, y - 7);
    }
    for (const [event, cancelling] of lane.cancels) {
      if (cancelling === 0 || event > end) continue;
      const back = lane.cancels.find(([later, n]) => later > event && n === 0)?.[0] ?? end;
      line(this.x(event), this.x(Math.min(back, end)), colour.cancel, 2.5);
    }
  }

  // What a task waits for, where there is room to say it.
  drawReason(pen, colour, text, from, to, y) {
    if (to - from < 44) return;
    pen.font = `10px ${getComputedStyle(document.body).fontFamily}`;
    if (pen.measureText(text).width < to - from) {
      pen.fillStyle = colour.soft;
      pen.fillText(text, from, y);
    }
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  }

  // Where the wait ends: the arrow that goes to the next run leaves there.
  woken(lane, wait, end) {
    const arrow = (this.wakes ??= this.indexWakes()).get(`${lane.task} ${wait.to}`);
    return this.x(arrow && arrow.event > wait.event ? arrow.event : end);
  }

  indexWakes() {
    return new Map(this.model.arrows.filter((arrow) => arrow.kind === 'wake').map((arrow) => [`${arrow.task} ${arrow.to}`, arrow]));
  }

  drawArrows(pen, first, last, firstLane, lastLane, upTo) {
    const all = this.model.arrows;
    let drawn = 0;
    Object.assign(pen, { strokeStyle: this.colour.ready, lineWidth: 1.3 });
    pen.setLineDash([4, 3]);
    for (let i = firstAt(all, first - 40, 'from'); i < all.length && all[i].from <= last && drawn < 1200; ++i) {
      const { event, by, task, to } = all[i];
      const from = this.laneOf.get(by) ?? 0;
      const lane = this.laneOf.get(task) ?? 0;
      const inSight = Math.min(from, lane) >= firstLane - FAR && Math.max(from, lane) <= lastLane + FAR && to >= first && to <= last + FAR;
      if (event > upTo || !inSight) continue;
      pen.globalAlpha = this.found && !this.found.has(lane) && !this.found.has(from) ? 0.1 : 0.55;
      drawn += this.drawArrow(pen, all[i]);
    }
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  // From who wakes to the next run of who is woken. Returns whether that is drawn.
  drawArrow(pen, { event, by, task }) {
    const from = this.laneOf.get(by) ?? 0;
    const lane = this.laneOf.get(task) ?? 0;
    const runs = this.model.lanes[lane - 1]?.runs ?? [];
    const run = runs[firstAt(runs, event, 'from')];
    if (!run || (this.hidden >= 0 && run.from > this.hidden)) return false;
    const [x1, y1, x2, y2] = [this.x(event), this.y(from), this.x(run.from), this.y(lane)];
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.bezierCurveTo(x1 + (x2 - x1) * 0.15, y1 + (y2 - y1) * 0.75, x2 - (x2 - x1) * 0.5, y2, x2, y2);
    pen.stroke();
    return true;
  }

  drawCursor(pen, colour, left, high) {
    const x = this.x(this.at) - left;
    if (x < LABELS) return;
    pen.fillStyle = colour.run;
    pen.fillRect(x - 1, 4, 2, high);
    pen.beginPath();
    pen.moveTo(x - 6, 0);
    pen.lineTo(x + 6, 0);
    pen.lineTo(x, 9);
    pen.fill();
  }

  drawLabels(pen, colour, firstLane, lastLane, top, high) {
    pen.fillStyle = colour.paper;
    pen.fillRect(0, 0, LABELS, high);
    pen.fillStyle = colour.line;
    pen.fillRect(LABELS - 1, 0, 1, high);
    pen.fillRect(0, HEAD - 1, LABELS, 1);
    pen.textAlign = 'left';
    pen.fillStyle = colour.soft;
    pen.fillText('iteration', 10, 12);
    pen.save();
    pen.beginPath();
    pen.rect(0, HEAD, LABELS - 4, high);
    pen.clip();
    for (let lane = firstLane; lane <= lastLane; ++lane) {
      const task = this.model.lanes[lane - 1]?.task;
      if (this.hidden >= 0 && this.model.lanes[lane - 1]?.born > this.hidden) continue;
      pen.globalAlpha = this.found && !this.found.has(lane) ? 0.35 : 1;
      pen.fillStyle = task === undefined ? colour.soft : colour.ink;
      pen.fillText(this.cut(pen, task === undefined ? 'callbacks' : this.label(task)), 10, this.y(lane) - top);
    }
    pen.restore();
    pen.globalAlpha = 1;
  }

  cut(pen, text) {
    if (pen.measureText(text).width <= LABELS - 16) return text;
    while (text && pen.measureText(`${text}…`).width > LABELS - 16) text = text.slice(0, -1);
    return `${text}…`;
  }

  // A name that a program has given says enough; "Task-2" does not.
  label(task) {
    const { name, func } = this.model.task(task);
    return /^Task-\d+$/.test(name) && func ? `${name.replace('Task-', 'T')} ${pretty(func)}` : name;
  }
}

// The first of the sorted items whose column is not before this one.
function firstAt(items, column, key = 'column') {
  let [from, to] = [0, items.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (items[middle][key] < column) from = middle + 1;
    else to = middle;
  }
  return from;
}
