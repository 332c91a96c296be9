// Which line is at work; and which line of the Python twin is the same.
'use strict';

const ROOMS = /^(selectors|loop|future|task)\//;

// Everything but the text of strings and comments keeps its place.
function withoutStrings(text) {
  return text.replace(/\/\/[^\n]*|\/\*[^]*?\*\/|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])'/g, (all) => all.replace(/[^\n]/g, ' '));
}

// First and last line of the body of a C++ function, counted from 1; null if it is not there.
function cppFunction(text, name, around) {
  const bare = withoutStrings(text);
  const last = name.split('::').pop().replace(/[^\w~]/g, '');
  let best = null;
  for (const match of bare.matchAll(new RegExp(`\\b${last}\\s*\\(`, 'g'))) {
    let i = match.index + match[0].length;
    for (let depth = 1; i < bare.length && depth > 0; ++i) depth += (bare[i] === '(') - (bare[i] === ')');
    const head = /^[^;{}()]*\{/.exec(bare.slice(i));
    if (!head) continue;
    i += head[0].length;
    for (let depth = 1; i < bare.length && depth > 0; ++i) depth += (bare[i] === '{') - (bare[i] === '}');
    const from = bare.slice(0, match.index).split('\n').length;
    const to = bare.slice(0, i).split('\n').length;
    if (!best || (around >= from && around <= to)) best = { from, to };
  }
  return best;
}

// The same of a Python function: it ends where the indentation does. Of several of that name it is the last one before `around`.
function pythonFunction(lines, name, around = 0) {
  const begins = new RegExp(`^\\s*(async )?def ${name.split('::').pop()}\\b`);
  let from = lines.findIndex((line) => begins.test(line));
  if (from < 0) return null;
  for (let i = from; i < around; ++i) if (begins.test(lines[i])) from = i;
  const indent = lines[from].search(/\S/);
  let to = from + 1;
  for (let i = from + 1; i < lines.length && (!lines[i].trim() || lines[i].search(/\S/) > indent); ++i) if (lines[i].trim()) to = i + 1;
  return { from: from + 1, to };
}

const isPython = (file) => /\.py$/.test(file);

// Where the function is in a file of either language, and how often a line of it awaits.
function functionIn(file, lines, name, around) {
  if (!isPython(file)) return cppFunction(lines.join('\n'), name, around);
  return pythonFunction(lines, name, around) ?? (name === 'module' ? { from: 1, to: lines.length } : null);
}

function countAwaits(file, text) {
  const bare = isPython(file) ? text.replace(/#.*|"(\\.|[^"\\\n])*"/g, '') : withoutStrings(text);
  return (bare.match(isPython(file) ? /\bawait\b|\basync (with|for)\b/g : /\bco_await\b/g) ?? []).length;
}

const words = (line) => new Set(line.match(/[A-Za-z_]{3,}|\d+/g) ?? []);

function likeness(a, b) {
  let both = 0;
  for (const word of a) both += b.has(word);
  return a.size + b.size ? (2 * both) / (a.size + b.size) : 0;
}

class Sources {
  constructor(record) {
    this.record = record;
    this.lines = Object.fromEntries(Object.entries(record.sources ?? {}).map(([name, text]) => [name, text.split('\n')]));
    this.twin = record.twin ? record.twin[1].split('\n') : null;
    this.twinOf = new Map();
    // Compilers differ in which line a coroutine that has not started is at: the page shows the first.
    const first = new Map();
    for (const task of record.tasks) {
      const key = `${task[1]} ${task[2]} ${task[3]}`;
      if (!first.has(key)) first.set(key, task[2] in this.lines && !isPython(task[2]) ? cppFunction(record.sources[task[2]], task[1], task[3])?.from : undefined);
      task[3] = first.get(key) ?? task[3];
    }
  }

  isOwn([, file]) {
    return !ROOMS.test(file) && file in this.lines;
  }

  // The frames of the program itself in which event i happens, innermost last: [function, file, line].
  frames(model, state, i) {
    const [kind, , loop, place, a] = model.events[i];
    const own = (frames) => frames.filter((frame) => this.isOwn(frame));
    if (kind === 'done') return own([this.record.tasks[a].slice(1, 4)]);
    if (place >= 0 && this.record.places[place]?.length) return own(this.record.places[place]).slice().reverse();
    if (kind === 'wait' || kind === 'step' || kind === 'create') return own(model.stack(state, a));
    const task = kind === 'run' ? this.record.handles[a][2] : loop >= 0 ? state.loop(loop).task : -1;
    if (task >= 0) return own(model.stack(state, task));
    const ended = kind === 'ran' ? this.record.handles[a][2] : -1;
    if (ended >= 0) return state.tasks[ended]?.state === 'done' ? [] : own(model.stack(state, ended));
    const handle = kind === 'run' || kind === 'due' || kind === 'ran' ? a : -1;
    const from = handle >= 0 ? this.record.handles[handle][3] : -1;
    return from >= 0 ? own(this.record.places[from] ?? []).slice().reverse() : [];
  }

  // The line of the twin that stands for a line of the program: the n-th await of the function of the same name, or the
  // line there with the most words in common. 0: there is none.
  twinLine([name, file, line]) {
    if (!this.twin || file !== this.record.program) return 0;
    const key = `${name}:${line}`;
    if (!this.twinOf.has(key)) this.twinOf.set(key, this.findTwinLine(name, file, line));
    return this.twinOf.get(key);
  }

  // What is main() in C++ stands in Python outside of functions.
  findTwinLine(name, file, line) {
    const twin = this.record.twin[0];
    const ours = functionIn(file, this.lines[file], name, line);
    const whole = name === 'main' && isPython(twin) ? { from: 1, to: this.twin.length } : null;
    const theirs = functionIn(twin, this.twin, name === 'module' ? 'main' : name, 0) ?? whole;
    if (!theirs) return 0;
    const text = this.lines[file][line - 1] ?? '';
    if (ours && countAwaits(file, text) > 0) {
      const nth = countAwaits(file, this.lines[file].slice(ours.from - 1, line - 1).join('\n'));
      const awaits = [];
      for (let i = theirs.from; i <= theirs.to; ++i) for (let n = countAwaits(twin, this.twin[i - 1]); n > 0; --n) awaits.push(i);
      if (nth < awaits.length) return awaits[nth];
    }
    let best = theirs.from;
    let most = 0.2;
    for (let i = theirs.from; i <= theirs.to; ++i) {
      const like = likeness(words(text), words(this.twin[i - 1]));
      if (like > most) [best, most] = [i, like];
    }
    return best;
  }
}

const CPP_WORDS = /\b(auto|bool|break|case|catch|char|class|const|constexpr|continue|co_await|co_return|co_yield|double|else|explicit|false|for|if|include|inline|int|namespace|new|noexcept|nullptr|override|private|public|return|static|struct|switch|template|this|throw|true|try|typename|unsigned|using|virtual|void|while)\b/;
const PYTHON_WORDS = /\b(and|as|assert|async|await|break|class|continue|def|del|elif|else|except|False|finally|for|from|global|if|import|in|is|lambda|None|nonlocal|not|or|pass|raise|return|True|try|while|with|yield)\b/;

// A line as spans: comments, strings, words of the language.
function coloured(line, python) {
  const pattern = new RegExp(`(${python ? '#.*' : '//.*'})|(f?"(?:\\\\.|[^"\\\\])*"|'(?:\\\\.|[^'\\\\])*')|${(python ? PYTHON_WORDS : CPP_WORDS).source}`, 'g');
  const span = document.createElement('span');
  let at = 0;
  for (const match of line.matchAll(pattern)) {
    span.append(line.slice(at, match.index));
    const part = document.createElement('span');
    part.className = match[1] ? 'c' : match[2] ? 's' : 'k';
    part.textContent = match[0];
    span.append(part);
    at = match.index + match[0].length;
  }
  span.append(line.slice(at));
  return span;
}

if (typeof module !== 'undefined') module.exports = { Sources, cppFunction, pythonFunction };
