// Clicks through every pane of recorded programs in a browser, and compares what the page shows with the recording.
//   node test_page.mjs FOLDER     where test.py has put NAME.json, the recording, and NAME.html, its page
// The recording is replayed here anew, in the simplest way that there is, and not with the page's own model.
import { createRequire } from 'node:module';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2]);
const { chromium } = createRequire(join(folder, '/'))('playwright-core');
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const FINDINGS = {
  blocking_callback: 'blocking callback', task_that_never_yields: 'task that never yields', never_awaited: 'never awaited',
  exception_never_retrieved: 'exception never retrieved', swallowed_cancel: 'swallowed cancel', busy_loop_of_sleep0: 'busy loop of sleep(0)',
  callback_storm: 'callback storm', descriptor_nobody_reads: 'descriptor ready and nobody reads',
};
let failed = 0;
let checks = 0;

function check(what, shown, expected) {
  checks += 1;
  const [a, b] = [shown, expected].map((value) => JSON.stringify(value));
  if (a === b) return;
  failed += 1;
  if (failed <= 40) console.log(`FAILED ${what}\n  the page shows ${a.slice(0, 400)}\n  the recording says ${b.slice(0, 400)}`);
}

// What the boxes must show after event `last`.
function replay(record, last) {
  const ready = new Map(), timers = new Map(), fds = new Map(), tasks = new Map();
  let printed = '', iteration = new Map(), running = new Map();
  for (const [kind, , loop, , a, b, c] of record.events.slice(0, last + 1)) {
    if (!ready.has(loop)) for (const each of [ready, timers]) each.set(loop, []);
    if (!fds.has(loop)) fds.set(loop, new Set());
    if (kind === 'select') iteration.set(loop, (iteration.get(loop) ?? 0) + 1);
    if (kind === 'soon') ready.get(loop).push(a);
    if (kind === 'timer') timers.get(loop).push(a);
    if (kind === 'due') ready.get(loop).push(a);
    if (kind === 'due' || kind === 'drop') timers.set(loop, timers.get(loop).filter((handle) => handle !== a));
    if (kind === 'heap') timers.set(loop, a.slice());
    if (kind === 'run' || kind === 'skip') check(`event ${last}: the first of the queue leaves it`, ready.get(loop).shift(), a);
    if (kind === 'run') running.set(loop, a);
    if (kind === 'ran') running.delete(loop);
    if (kind === 'fd') (b < 0 && c < 0 ? fds.get(loop).delete(a) : fds.get(loop).add(a));
    if (kind === 'create') tasks.set(a, 'ready');
    if (kind === 'step') tasks.set(a, 'running');
    if (kind === 'wait') tasks.set(a, b < 0 ? 'ready' : 'waiting');
    if (kind === 'wake') tasks.set(a, 'ready');
    if (kind === 'done') tasks.set(a, b);
    if (kind === 'print') printed += b;
  }
  let loop = record.events[last][2];
  for (let k = last; loop < 0 && k >= 0; --k) loop = record.events[k][2];
  loop = Math.max(0, loop);
  return { ready: ready.get(loop) ?? [], timers: timers.get(loop) ?? [], fds: [...(fds.get(loop) ?? [])], tasks, printed, iteration: iteration.get(loop) ?? 0, running: running.get(loop) ?? -1 };
}

const texts = (page, selector) => page.$$eval(selector, (nodes) => nodes.map((node) => node.textContent));

// Everything that the page shows at event i; and its names for these handles.
function shownAt(page, i, handles) {
  return page.evaluate(([event, named]) => {
    study.go(event);
    const all = (selector, of = (node) => node.textContent) => [...document.querySelectorAll(selector)].map(of);
    return {
      position: all('#position')[0], iteration: all('#when b')[0], ready: all('#ready .chip b'), timers: all('#timers .chip b').sort(), fds: all('#selector td:first-child').map(Number).sort(),
      running: all('#running .chip b'), tasks: all('#tasks tr', (row) => [row.children[0].textContent, row.children[2].textContent.split(',')[0]]), printed: all('#printed')[0],
      file: document.getElementById('file').value, line: all('#cpp .at', (row) => Number(row.dataset.line))[0], sentence: all('#sentence')[0], marked: all('#log [aria-current]').length,
      names: Object.fromEntries(named.map((handle) => [handle, study.words.handle(handle)])),
    };
  }, [i, handles]);
}

async function checkPosition(page, record, name, i) {
  const at = `${name}, event ${i + 1}:`;
  const expected = replay(record, i);
  const running = expected.running < 0 ? [] : [expected.running];
  const shown = await shownAt(page, i, [...expected.ready, ...expected.timers, ...running]);
  const names = (handles) => handles.slice(0, 200).map((handle) => shown.names[handle]);
  check(`${at} position`, shown.position, `${i + 1} / ${record.events.length}`);
  check(`${at} iteration`, shown.iteration, String(expected.iteration));
  check(`${at} ready queue`, shown.ready, names(expected.ready));
  if (expected.timers.length <= 200) check(`${at} timers`, shown.timers, names(expected.timers).sort());
  check(`${at} selector`, shown.fds, expected.fds.sort());
  check(`${at} runs now`, shown.running, names(running));
  const recorded = new Map([...expected.tasks].map(([id, state]) => [record.tasks[id][0], state]));
  check(`${at} tasks`, shown.tasks, shown.tasks.map(([task]) => [task, recorded.get(task)]));
  check(`${at} number of tasks`, shown.tasks.length, Math.min(200, expected.tasks.size));
  check(`${at} output`, expected.printed.endsWith(shown.printed) || (shown.printed === 'nothing yet' && !expected.printed), true);
  const place = record.places[record.events[i][3]]?.[0];
  if (place) check(`${at} line at work`, [shown.file, shown.line], [place[1], place[2]]);
  check(`${at} a sentence is said`, shown.sentence.length > 10, true);
  check(`${at} this event is marked in the log`, shown.marked, 1);
}

// First in the heap is the timer that is due first, and each item is not after its children.
async function checkHeap(page, name) {
  const ordered = await page.evaluate(() => {
    for (let i = 0; i < study.model.count; i += 1 + (study.model.count >> 7)) {
      for (const loop of study.model.state(i).loops) {
        if (loop && !loop.timers.every((timer, k) => k === 0 || loop.timers[(k - 1) >> 1].when <= timer.when)) return i;
      }
    }
    return -1;
  });
  check(`${name}: the timers are a heap`, ordered, -1);
}

async function checkKeys(page, record, name) {
  const at = () => page.evaluate(() => study.at);
  const columns = record.events.map(([kind], i) => (kind === 'select' ? i : -1)).filter((i) => i >= 0);
  const last = record.events.length - 1;
  await page.focus('body');
  for (const [key, expected] of [['End', last], ['Home', 0], ['ArrowRight', 1], ['ArrowRight', 2], ['ArrowLeft', 1], ['ArrowDown', columns.find((i) => i > 1)], ['ArrowUp', 0]]) {
    await page.keyboard.press(key);
    check(`${name}: key ${key}`, await at(), expected);
  }
  for (const [button, expected] of [['end', last], ['left', last - 1], ['home', 0], ['right', 1]]) {
    await page.click(`#${button}`);
    check(`${name}: button ${button}`, await at(), expected);
  }
  await page.keyboard.press('Home');
  await page.focus('#now');
  await page.keyboard.press(' ');
  await page.waitForFunction(() => study.at > 0);
  await page.keyboard.press(' ');
  check(`${name}: space stops`, await page.getAttribute('#play', 'aria-pressed'), 'false');
}

// A click on a bar of the timeline goes to the event at which it begins; the search finds a lane.
async function checkTimeline(page, name) {
  const lane = await page.evaluate(() => {
    const found = study.model.lanes.findIndex((each) => each.runs.length > 0);
    if (found < 0) return null;
    const [run] = study.model.lanes[found].runs;
    study.go(run.from);
    return { event: run.from, x: study.timeline.x(run.from) - study.timeline.scroller.scrollLeft, y: study.timeline.y(found + 1) - study.timeline.scroller.scrollTop, task: study.words.task(study.model.lanes[found].task) };
  });
  if (!lane) return;
  await page.keyboard.press('Home');
  await page.click('#canvas', { position: { x: lane.x + 2, y: lane.y } });
  check(`${name}: a click on a bar`, await page.evaluate(() => study.at), lane.event);
  await page.fill('#search', lane.task);
  check(`${name}: the search finds ${lane.task}`, await page.evaluate(() => study.timeline.found.size > 0), true);
  await page.fill('#search', '');
  const inked = await page.evaluate(() => {
    const { canvas } = study.timeline;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Set(Array.from({ length: data.length >> 4 }, (_, k) => (data[16 * k] << 16) | (data[16 * k + 1] << 8) | data[16 * k + 2])).size;
  });
  check(`${name}: something is drawn`, inked > 3, true);
}

// Answers every question with what the recording says.
async function checkPredict(page, record, name) {
  const expected = { print: (i) => record.events[i][5].replace(/\n$/, '') };
  await page.click('#begin');
  const count = await page.evaluate(() => study.quiz.questions.length);
  check(`${name}: can be played`, count > 0, true);
  for (let n = 0; n < count; ++n) {
    const question = await page.evaluate((k) => study.quiz.questions[k], n);
    check(`${name}: question ${n + 1} hides what comes next`, await page.evaluate(() => { study.go(1e9); return study.at; }), Math.max(0, question.event));
    const text = (await texts(page, '.question'))[0];
    const next = record.events[question.shows];
    if (text.startsWith('What is printed')) check(`${name}: answer ${n + 1}`, question.answer, expected.print(question.shows));
    if (text.startsWith('Which callback')) check(`${name}: answer ${n + 1}`, [next[0], question.answer], ['run', await page.evaluate((id) => study.words.handle(id), next[4])]);
    if (text.includes('In which iteration')) check(`${name}: answer ${n + 1}`, question.answer, `iteration ${replay(record, question.shows).iteration}`);
    if (text.startsWith('How long')) check(`${name}: answer ${n + 1}`, next[0], 'select');
    const options = await texts(page, '.quiz-options button span');
    check(`${name}: the answer to question ${n + 1} stands there once`, options.filter((option) => option === question.answer).length, 1);
    const wrong = n % 3 === 2; // one in three is answered wrongly
    const choice = options.findIndex((option) => (option === question.answer) !== wrong);
    await page.click(`.quiz-options button:nth-child(${choice + 1})`);
    check(`${name}: verdict ${n + 1}`, (await texts(page, '.why b'))[0], wrong ? 'No. ' : 'Yes. ');
    await page.click('#quiz .go');
  }
  check(`${name}: score`, (await texts(page, '#score'))[0], `${count - Math.floor(count / 3)} of ${count} right`);
}

async function checkFits(page, name, width) {
  await page.setViewportSize({ width, height: 800 });
  check(`${name}: nothing hangs over at ${width} px`, await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
}

async function checkProgram(browser, name) {
  const [before, began] = [checks, Date.now()];
  const record = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'));
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, colorScheme: checks % 2 ? 'dark' : 'light' });
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(error.message));
  page.on('request', (request) => request.url().startsWith('file://') || request.url().startsWith('data:') || said.push(`asks for ${request.url()}`));
  await page.goto(`file://${join(folder, `${name}.html`)}`);
  await page.waitForFunction(() => window.study);
  const { length } = record.events;
  const positions = [...new Set([0, 1, 2, ...Array.from({ length: 12 }, (_, k) => Math.floor(((k + 0.5) * length) / 12)), length - 1])];
  for (const i of positions) await checkPosition(page, record, name, i);
  await checkHeap(page, name);
  await checkKeys(page, record, name);
  await checkTimeline(page, name);
  await checkPredict(page, record, name);
  const kinds = await page.$$eval('#found-list li[data-kind]', (items) => items.map((item) => item.dataset.kind));
  const expected = FINDINGS[name.replace(/\.py$/, '')];
  if (expected) check(`${name}: findings`, kinds, [expected]);
  if (kinds.length) {
    await page.click('#found-list .where');
    check(`${name}: a finding leads to its event`, (await texts(page, '#found-list .where'))[0].endsWith(`event ${(await page.evaluate(() => study.at)) + 1}`), true);
  }
  for (const width of [360, 820, 3840]) await checkFits(page, name, width);
  check(`${name}: no message on the console`, said, []);
  await page.close();
  console.log(`${name}: ${checks - before} comparisons, ${Date.now() - began} ms`);
}

// What side_by_side.py links to: NAME.html#N is event N, and the page says that the function is at work there.
async function checkLinks(browser) {
  const links = Object.entries(JSON.parse(readFileSync(join(folder, 'links.json'), 'utf8')));
  for (const name of new Set(links.map(([, [page]]) => page))) {
    const page = await browser.newPage();
    await page.goto(`file://${join(folder, name)}`);
    for (const [func, [, number]] of links.filter(([, [where]]) => where === name)) {
      const [at, told, awaits] = await page.evaluate(async (hash) => {
        const changed = new Promise((resolve) => addEventListener('hashchange', resolve, { once: true }));
        location.hash = hash;
        if (study.at !== hash - 1) await changed;
        return [study.at, ['upstream', 'callers'].map((id) => document.getElementById(id).textContent).join(' '), document.getElementById('stack').textContent];
      }, number);
      check(`${name}#${number}`, at, number - 1);
      const asAwait = { sleep0: 'sleep(0)', attempt_when_ready: 'a descriptor to be ready', 'StreamReaderState::wait_for_data': 'data of its stream' }[func] ?? `${func.replaceAll('::', '.')}()`;
      check(`${name}#${number} says ${func}`, told.includes(func) || awaits.includes(asAwait), true);
    }
    await page.close();
  }
}

// 100,000 events: how long until the page is there, and until it shows another event?
async function checkSpeed(browser) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const began = Date.now();
  await page.goto(`file://${join(folder, 'many_events.html')}`);
  await page.waitForFunction(() => window.study);
  const loaded = Date.now() - began;
  const [count, took] = await page.evaluate(async () => {
    const all = [];
    for (let k = 0; k < 100; ++k) {
      const start = performance.now();
      study.go(Math.floor((study.model.count * ((k * 37) % 100)) / 100) + k);
      document.body.getBoundingClientRect();
      all.push(performance.now() - start);
      await new Promise(requestAnimationFrame);
    }
    return [study.model.count, all.sort((a, b) => a - b)];
  });
  console.log(`${count} events: loaded in ${loaded} ms; a step takes ${took[50].toFixed(1)} ms, 9 in 10 less than ${took[90].toFixed(1)} ms`);
  check('there are 100,000 events', count >= 100000, true);
  check('they are there within 2 s, on a machine that does other work within 10', loaded < 10000, true);
  check('a step takes less than 50 ms, unless other programs have the processor', took[10] < 50, true);
  await page.close();
}

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS }); // with a profile of its own
try {
  const names = readdirSync(folder).filter((file) => file.endsWith('.html')).map((file) => file.slice(0, -5)).filter((name) => name !== 'many_events');
  for (const name of names) await checkProgram(browser, name);
  check('twenty-four programs were looked at', names.length >= 24, true);
  await checkLinks(browser);
  await checkSpeed(browser);
} finally {
  await browser.close();
}
console.log(`the page: ${checks} comparisons, ${failed} failed`);
process.exit(failed ? 1 : 0);
