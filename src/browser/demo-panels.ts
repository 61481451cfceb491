/** The panels of the demo page: dashboards, and transports with their figures and timeline. */
import { duration, type ShownEvent, type State, type Watcher } from './demo-lines.js';
import { Trace } from './demo-trace.js';

/** A list keeps this many rows; older ones go. */
const LIST_EVENTS = 60;
/** A badge counts to this; its width has an end, as its place has. */
const BADGE_MAX = 999;
const TIMELINE_MS = 30_000;
/** The timeline keeps this many marks of a transport. */
const TIMELINE_MARKS = 400;
const SVG = 'http://www.w3.org/2000/svg';

/** The element that the page has for `selector`. */
export function find(selector: string, root: ParentNode = document): HTMLElement {
  const found = root.querySelector<HTMLElement>(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
}

/** Turns a switch. */
export function setSwitch(button: Element, isOn: boolean): void {
  button.setAttribute('aria-checked', String(isOn));
}

function make(tag: string, className: string, text: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** Ids have 16 digits; the last five are enough. */
function shortId(id: number): string {
  return id < 1e6 ? String(id) : `…${String(id).slice(-5)}`;
}

function timeOf(ms: number): string {
  return new Date(ms).toLocaleTimeString('en-GB');
}

/** A state, a list of events and a raw pane. */
abstract class Panel implements Watcher {
  protected readonly root: HTMLElement;
  readonly #events: HTMLElement;
  readonly #trace: Trace;

  /** Copies `template` to the end of `into`. */
  constructor(template: string, into: string, key: string, title: string) {
    this.root = (find(template) as HTMLTemplateElement).content.firstElementChild!.cloneNode(
      true,
    ) as HTMLElement;
    this.root.dataset['panel'] = key;
    find(into).append(this.root);
    this.show('h3', title);
    this.#events = find('.events', this.root);
    this.#events.setAttribute('aria-label', `Events of ${title}, newest first`);
    const raw = find('.raw', this.root);
    raw.setAttribute('aria-label', `Raw bytes of ${title}`);
    this.#trace = new Trace(raw);
  }

  abstract asked(position: number | undefined): void;
  abstract answered(isEmpty: boolean): void;
  /** Time or latency of an event. */
  protected abstract metaOf(event: ShownEvent): string;

  protected show(selector: string, text: string): void {
    find(selector, this.root).textContent = text;
  }

  state(state: State, _words: string): void {
    this.root.dataset['state'] = state;
    this.show('.state', state);
  }

  event(event: ShownEvent): void {
    const { id, type, text, isReplayed } = event;
    const row = make('li', isReplayed ? 'event replayed' : 'event', '');
    const pill = make('span', 'pill', type);
    pill.dataset['type'] = type;
    pill.title = type;
    if (id !== undefined) row.dataset['id'] = String(id);
    const words = make('span', 'text', text);
    words.title = text;
    row.append(
      pill,
      words,
      ...(isReplayed && id !== undefined ? [make('span', 'tag', 'replayed')] : []),
      make('span', 'meta', this.metaOf(event)),
      make('span', 'id', id === undefined ? '' : shortId(id)),
    );
    this.#events.prepend(row);
    if (this.#events.childElementCount > LIST_EVENTS) this.#events.lastElementChild!.remove();
  }

  raw(text: string, bytes: number | undefined): void {
    this.#trace.add(text, bytes === undefined);
  }
}

/** How a dashboard came back. */
interface Resumption {
  readonly after: number;
  replayed: number;
  /** What other lines of this page received while it was away. */
  readonly missed: number;
  /** A gap notice tells that something may be lost; after a restart it is known to be nothing. */
  gap: 'none' | 'unknown' | 'restart';
}

function inWords({ after, replayed, missed, gap }: Resumption): string {
  const id = shortId(after);
  if (gap === 'none') return `${replayed} replayed after ${id}, none lost.`;
  if (gap === 'restart') {
    const since = replayed === 0 ? '' : `; ${replayed} replayed since`;
    return `the server restarted, and all up to ${id} had arrived${since}.`;
  }
  const lost = missed > replayed ? `${missed - replayed} are lost` : 'others may be lost';
  return `${replayed} replayed after ${id}, ${lost}.`;
}

export class Dashboard extends Panel {
  readonly #badges: readonly Element[];
  #state: State = 'connecting';
  #unread = 0;
  /** Events that other lines of this page received while it slept. */
  #missed = 0;
  /** How it came back last. */
  #resumed: Resumption = { after: 0, replayed: 0, missed: 0, gap: 'none' };

  constructor(key: string) {
    super('#dashboard-template', '.dashboards', key, `Dashboard ${key.toUpperCase()}`);
    this.show('.letter', key.toUpperCase());
    this.#badges = [find('.badge', this.root), find(`.dock [data-badge=${key}]`)];
    find('.bell', this.root).addEventListener('click', () => this.#badge(0));
  }

  /** Events replayed since its last request. */
  get replayed(): number {
    return this.#resumed.replayed;
  }

  override state(state: State, words: string): void {
    super.state(state, words);
    this.#state = state;
    if (state === 'asleep' || state === 'open') this.#missed = 0;
    this.show('.status', words);
  }

  asked(position: number | undefined): void {
    this.#resumed = { after: position ?? 0, replayed: 0, missed: this.#missed, gap: 'none' };
    this.show(
      '.request',
      position === undefined
        ? 'no position: starts with the next event'
        : `asked with Last-Event-ID: ${position}`,
    );
  }

  override event(event: ShownEvent): void {
    super.event(event);
    const resumed = this.#resumed;
    if (event.id === undefined) resumed.gap = event.isAfterRestart ? 'restart' : 'unknown';
    else this.#badge(this.#unread + 1);
    if (!event.isReplayed) return;
    if (event.id !== undefined) resumed.replayed++;
    const words = inWords(resumed);
    this.show('.status', `Came back: ${words}`);
    find('#said').textContent = `${find('h3', this.root).textContent}: ${words}`;
  }

  /** Another line of this page received a new event. */
  othersHeard(): void {
    if (this.#state === 'asleep')
      this.show(
        '.status',
        `Asleep: its connection is closed. ${++this.#missed} published meanwhile.`,
      );
  }

  answered(): void {
    this.show('.request', 'the connection is closed');
  }

  protected metaOf({ arrivedMs }: ShownEvent): string {
    return timeOf(arrivedMs);
  }

  #badge(unread: number): void {
    this.#unread = unread;
    for (const badge of this.#badges)
      badge.textContent = unread > BADGE_MAX ? `${BADGE_MAX}+` : String(unread);
    find('.bell', this.root).classList.toggle('unread', unread > 0);
  }
}

/** One of the four transports. */
export class TransportPanel extends Panel {
  readonly #lane: SVGElement;
  /** Requests with their time, and whether the answer was empty. */
  readonly #spans: { readonly fromMs: number; untilMs?: number; isEmpty?: boolean }[] = [];
  readonly #marks: ShownEvent[] = [];
  #requests = 0;
  #answers = 0;
  #empties = 0;
  #bytes = 0;
  #latencySumMs = 0;
  #latencies = 0;

  constructor(key: string, title: string, how: string) {
    super('#transport-template', '.transports', key, title);
    this.show('.how', how);
    const row = make('div', 'lane', title);
    this.#lane = document.createElementNS(SVG, 'svg');
    this.#lane.setAttribute('aria-hidden', 'true');
    row.append(this.#lane);
    find('.lanes').append(row);
  }

  asked(): void {
    if (this.#spans.push({ fromMs: Date.now() }) > TIMELINE_MARKS) this.#spans.shift();
    this.show('[data-figure=requests]', String(++this.#requests));
  }

  answered(isEmpty: boolean): void {
    Object.assign(this.#spans.at(-1)!, { untilMs: Date.now(), isEmpty });
    this.#answers++;
    if (isEmpty) this.#empties++;
    this.show('[data-figure=empty]', `${Math.round((100 * this.#empties) / this.#answers)} %`);
  }

  override event(event: ShownEvent): void {
    super.event(event);
    if (this.#marks.push(event) > TIMELINE_MARKS) this.#marks.shift();
    if (event.publishedMs === undefined || event.isReplayed) return;
    const latencyMs = event.arrivedMs - event.publishedMs;
    this.#latencySumMs += latencyMs;
    this.show('[data-figure=latency]', duration(latencyMs));
    this.show('[data-figure=average]', duration(this.#latencySumMs / ++this.#latencies));
  }

  override raw(text: string, bytes: number | undefined): void {
    super.raw(text, bytes);
    this.#bytes += bytes ?? 0;
    this.show(
      '[data-figure=bytes]',
      this.#bytes < 10_000 ? `${this.#bytes} B` : `${(this.#bytes / 1000).toFixed(1)} kB`,
    );
  }

  protected metaOf({ arrivedMs, publishedMs }: ShownEvent): string {
    return publishedMs === undefined ? timeOf(arrivedMs) : `+${duration(arrivedMs - publishedMs)}`;
  }

  /** Draws its lane: requests as bars, events as dots with a mark where they were published. */
  draw(nowMs: number): void {
    const sinceMs = nowMs - TIMELINE_MS;
    const percent = (ms: number): number => Math.max(0, ((ms - sinceMs) / TIMELINE_MS) * 100);
    const leastPercent = 600 / Math.max(300, this.#lane.clientWidth);
    const shapes: SVGElement[] = [];
    const shape = (name: string, className: string, attributes: Record<string, string>): void => {
      const element = document.createElementNS(SVG, name);
      for (const [attribute, value] of Object.entries({ class: className, ...attributes }))
        element.setAttribute(attribute, value);
      shapes.push(element);
    };
    for (const { fromMs, untilMs = nowMs, isEmpty } of this.#spans.filter(
      (span) => (span.untilMs ?? nowMs) >= sinceMs,
    )) {
      const width = `${Math.max(leastPercent, percent(untilMs) - percent(fromMs))}%`;
      shape('rect', isEmpty ? 'empty' : 'held', {
        x: `${percent(fromMs)}%`,
        width,
        y: '25%',
        height: '50%',
        rx: '2',
      });
    }
    for (const { publishedMs, arrivedMs } of this.#marks.filter(
      (mark) => mark.arrivedMs >= sinceMs,
    )) {
      const [from, to] = [`${percent(publishedMs ?? arrivedMs)}%`, `${percent(arrivedMs)}%`];
      if (publishedMs !== undefined)
        shape('line', 'published', { x1: from, x2: from, y1: '0', y2: '100%' });
      shape('line', 'late', { x1: from, x2: to, y1: '50%', y2: '50%' });
      shape('circle', 'arrived', { cx: to, cy: '50%', r: '4' });
    }
    this.#lane.replaceChildren(...shapes);
  }
}
