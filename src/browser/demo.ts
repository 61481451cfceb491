/** The demo page at /-/demo: connects lines and panels to the publish form and the switches. */
import { CHANNEL, Line, refusalOf } from './demo-lines.js';
import { Dashboard, find, setSwitch, TransportPanel } from './demo-panels.js';
import { breakable } from './demo-trace.js';
import { PollLine, SocketLine, StreamLine } from './demo-transports.js';

const LONG_POLL_WAIT_S = 25;
const SHORT_POLL_EVERY_MS = 2000;
const STEADY_EVERY_MS = 1000;
const TIMELINE_STEP_MS = matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : 200;
/** No answer for this long most likely means that the browser's six connections are taken. */
const SLOW_ANSWER_MS = 4000;

const dashboards = { a: new Dashboard('a'), b: new Dashboard('b'), c: new Dashboard('c') };
const transports = {
  sse: new TransportPanel('sse', 'SSE', 'One request, held open: dashboard A’s own line.'),
  socket: new TransportPanel(
    'websocket',
    'WebSocket',
    'One upgrade, held open; a message carries one or more events.',
  ),
  long: new TransportPanel(
    'long-poll',
    'Long-poll',
    `Held until an event comes, at most ${LONG_POLL_WAIT_S} s; then asks again.`,
  ),
  short: new TransportPanel(
    'short-poll',
    'Short-poll',
    `Asks every ${SHORT_POLL_EVERY_MS / 1000} s and gets an answer at once.`,
  ),
};
const lineA = new StreamLine(dashboards.a, transports.sse);
const lineB = new StreamLine(dashboards.b);
const lineC = new StreamLine(dashboards.c);
const compared = [
  new SocketLine(transports.socket),
  new PollLine(transports.long, LONG_POLL_WAIT_S, 0),
  new PollLine(transports.short, 0, SHORT_POLL_EVERY_MS),
];

/** Marks a step of "See the replay" as done. */
function done(step: string): void {
  find(`[data-step=${step}]`).classList.add('done');
}

// Dashboard B sleeps and wakes.
const sleep = find('[data-panel=b] .sleep');
let isAsleep = false;
function toggleSleep(): void {
  isAsleep = !isAsleep;
  setSwitch(sleep, isAsleep);
  find('#dock-sleep').textContent = isAsleep ? 'Wake B' : 'Put B to sleep';
  lineB.want(!isAsleep);
  if (isAsleep) done('sleep');
}
sleep.hidden = false;
for (const button of [sleep, find('#dock-sleep')]) button.addEventListener('click', toggleSleep);

Line.onNews = () => {
  for (const dashboard of Object.values(dashboards)) dashboard.othersHeard();
  if (isAsleep) done('miss');
};

// The comparison can be switched off; its figures stay.
const compare = find('#compare');
let isComparing = true;
compare.addEventListener('click', () => {
  isComparing = !isComparing;
  setSwitch(compare, isComparing);
  for (const line of compared) line.want(isComparing);
});

// Publishing.
const SAMPLES: readonly (readonly [type: string, text: string])[] = [
  ['notice', 'Ada mentioned you in “Q3 plan”'],
  ['deploy', 'Build 42 is green'],
  ['metric', 'cpu 37 %, queue depth 12'],
  ['alert', 'Disk 91 % full on db-2'],
  ['notice', 'Your export is ready'],
  ['deploy', 'api v2.8.1 is out'],
  ['metric', '1,204 orders today'],
  ['alert', 'Certificate expires in 3 days'],
];
let samplesUsed = 0;
const nextSample = (): readonly [string, string] => SAMPLES[samplesUsed++ % SAMPLES.length]!;

const form = find('#publish') as HTMLFormElement;
const text = find('#text') as HTMLInputElement;
/** The sample in the field; text that a person typed stays. */
let offered = '';
function offer(): void {
  if (text.value !== offered) return;
  const [type, sample] = nextSample();
  (find(`[name=type][value=${type}]`) as HTMLInputElement).checked = true;
  text.value = offered = sample;
}

function showAnswer(request: string, reply: string, words: string, isRefused: boolean): void {
  const answer = find('.answer');
  answer.classList.toggle('refused', isRefused);
  find('.post', answer).replaceChildren(...breakable(request));
  find('.reply', answer).replaceChildren(...breakable(reply));
  find('.words', answer).textContent = words;
}

let isPublishing = false;
/**
 * Publishes one event, or several as a batch, and shows the answer. One request at a time, since
 * polls need connections too.
 */
async function publish(
  ...events: readonly (readonly [type: string, text: string])[]
): Promise<void> {
  if (isPublishing) return;
  isPublishing = true;
  const items = events.map(([event, words]) => ({
    event,
    data: { text: words, atMs: Date.now() },
  }));
  const [first] = items;
  const isBatch = items.length > 1;
  const path = isBatch ? CHANNEL : `${CHANNEL}?event=${encodeURIComponent(first!.event)}`;
  const body = isBatch
    ? items.map((item) => JSON.stringify(item)).join('\n')
    : JSON.stringify(first!.data);
  const request = `POST ${path}${isBatch ? ` (${items.length} lines of NDJSON)` : ''}`;
  const headers: Record<string, string> = {
    'Content-Type': isBatch ? 'application/x-ndjson' : 'application/json',
  };
  const key = (find('#key') as HTMLInputElement).value;
  if (key !== '') headers['Authorization'] = `Bearer ${key}`;
  const slow = setTimeout(
    () =>
      showAnswer(
        request,
        'no answer yet',
        'Waiting for a free connection or for the server.',
        true,
      ),
    SLOW_ANSWER_MS,
  );
  try {
    const response = await fetch(path, { method: 'POST', headers, body });
    if (response.ok) {
      const reply = await response.text();
      const { subscribers } = JSON.parse(reply) as { subscribers: number };
      showAnswer(
        request,
        `${response.status} ${reply}`,
        `Pushed to held lines: ${subscribers} (dashboards, WebSocket, a waiting poll).`,
        false,
      );
      done('publish');
    } else {
      if (response.status === 401) find('.key').hidden = false;
      showAnswer(
        request,
        `${response.status} ${response.statusText}`,
        `Refused: ${await refusalOf(response)}.`,
        true,
      );
    }
  } catch {
    showAnswer(request, 'no answer', 'The server did not answer. Is it running?', true);
  } finally {
    clearTimeout(slow);
    isPublishing = false;
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void publish([(find('[name=type]:checked') as HTMLInputElement).value, text.value]);
  offer();
});
find('#send-ten').addEventListener(
  'click',
  () => void publish(...Array.from({ length: 10 }, nextSample)),
);
const steady = find('#steady');
let steadyTimer: number | undefined;
steady.addEventListener('click', () => {
  clearInterval(steadyTimer);
  const isOn = steadyTimer === undefined;
  steadyTimer = isOn
    ? window.setInterval(() => void publish(nextSample()), STEADY_EVERY_MS)
    : undefined;
  setSwitch(steady, isOn);
});

// Only the visible tab holds lines: together several would take more than the browser's six
// connections.
const tabs = new BroadcastChannel('holdline-demo');
tabs.addEventListener('message', () => {
  if (document.hidden) Line.pauseAll(true);
});
function isSeen(): void {
  if (document.hidden) return;
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a BroadcastChannel has one origin
  tabs.postMessage('seen');
  Line.pauseAll(false);
}
document.addEventListener('visibilitychange', isSeen);
isSeen();

find('#curl').replaceChildren(
  ...breakable(`curl -d hello '${location.origin}${CHANNEL}?event=notice'`),
);
offer();

// The rail stays in sight. One that is taller than the window scrolls up to its end first.
const rail = find('.rail');
new ResizeObserver(() => rail.style.setProperty('--rail-height', `${rail.offsetHeight}px`)).observe(
  rail,
);

let hasBegun = false;
for (const line of [lineA, lineB, lineC]) line.want(true);
setInterval(() => {
  // All transports start from one position, that of line A.
  if (!hasBegun && lineA.position !== undefined) {
    hasBegun = true;
    for (const line of compared) {
      line.position = lineA.position;
      line.want(isComparing);
    }
  }
  if (dashboards.b.replayed > 0) done('wake');
  if (!document.hidden)
    for (const transport of Object.values(transports)) transport.draw(Date.now());
}, TIMELINE_STEP_MS);

// Colours: the system's, or those chosen here.
const THEME = 'holdline-theme';
const root = document.documentElement;
root.dataset['theme'] = localStorage.getItem(THEME) ?? 'auto';
for (const radio of document.querySelectorAll<HTMLInputElement>('[name=theme]')) {
  radio.checked = radio.value === root.dataset['theme'];
  radio.addEventListener('change', () =>
    localStorage.setItem(THEME, (root.dataset['theme'] = radio.value)),
  );
}
