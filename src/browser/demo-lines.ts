/**
 * The lines of the demo page over four transports: each asks from its position, takes events, and
 * comes back after a loss.
 */

/** The one channel of the page. */
export const CHANNEL = '/notifications';

const POLL_LIMIT = 100;
/** Pause before a reconnect until the server sends `retry`; each further failure doubles it. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

export type State = 'connecting' | 'open' | 'asleep' | 'lost';

/** An event as a panel shows it. */
export interface ShownEvent {
  /** Undefined for a gap notice. */
  readonly id: number | undefined;
  readonly type: string;
  readonly text: string;
  readonly arrivedMs: number;
  /** When its publisher sent it, if it says so and not in the future. */
  readonly publishedMs: number | undefined;
  /** It was published before this connection. */
  readonly isReplayed: boolean;
}

/** Shows a line. */
export interface Watcher {
  state(state: State, words: string): void;
  /** A request is sent that continues after `position`. */
  asked(position: number | undefined): void;
  /** A request has ended. */
  answered(isEmpty: boolean): void;
  event(event: ShownEvent): void;
  /** For the raw pane: received text with its bytes, or a note of the page without. */
  raw(text: string, bytes: number | undefined): void;
}

/** An event with a gap notice, or one of the two, as polls and WebSockets carry it. */
interface Envelope {
  readonly id?: number;
  readonly event?: string;
  readonly data?: unknown;
  readonly gap?: { readonly after: number | null; readonly before: number | null };
}

/** Milliseconds for people. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** The message of a refusal by Holdline, else the status. */
export async function refusalOf(response: Response): Promise<string> {
  try {
    return ((await response.json()) as { error: { message: string } }).error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** Bytes of the status line and the headers that a page sees. */
function headBytes({ status, statusText, headers }: Response): number {
  let bytes = `HTTP/1.1 ${status} ${statusText}\r\n\r\n`.length;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  return bytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Text and time in the data of an event: this page publishes both, curl any data. */
function readData(data: unknown): Pick<ShownEvent, 'text' | 'publishedMs'> {
  const { text, atMs } = Object(typeof data === 'string' ? parseJson(data) : data) as {
    text?: unknown;
    atMs?: unknown;
  };
  if (typeof text !== 'string')
    return { text: typeof data === 'string' ? data : JSON.stringify(data), publishedMs: undefined };
  return { text, publishedMs: typeof atMs === 'number' && atMs <= Date.now() ? atMs : undefined };
}

/** Resolves after `ms`, or when the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve());
  });
}

/** A line that is asked for again and again, each time from its position. */
export abstract class Line {
  /** The newest id that any line of this page received. */
  static newestId = 0;
  /** Called when a line receives an id that none had before. */
  static onNews: () => void = () => {};
  static readonly #all: Line[] = [];
  static #isPaused = false;

  /** It continues after this id. */
  position: number | undefined;
  protected retryMs = FIRST_RETRY_MS;
  /** Events up to this id were published before the current connection. */
  #replayedThrough = 0;
  readonly #watchers: readonly Watcher[];
  #controller: AbortController | undefined;
  #state: State | undefined;
  #failures = 0;
  #isWanted = false;
  #isAsking = false;

  constructor(...watchers: readonly Watcher[]) {
    this.#watchers = watchers;
    Line.#all.push(this);
  }

  /** Makes one request; resolves with the pause before the next, ms, and rejects on a loss. */
  protected abstract ask(signal: AbortSignal): Promise<number>;

  /** Opens or closes it. */
  want(isWanted: boolean): void {
    this.#isWanted = isWanted;
    this.#update();
  }

  /** Closes all lines, or opens those that are wanted. */
  static pauseAll(isPaused: boolean): void {
    Line.#isPaused = isPaused;
    for (const line of Line.#all) line.#update();
  }

  #update(): void {
    const shallRun = this.#isWanted && !Line.#isPaused;
    if (shallRun === (this.#controller !== undefined)) return;
    this.#controller?.abort();
    this.#controller = undefined;
    if (shallRun) {
      this.#controller = new AbortController();
      void this.#run(this.#controller.signal);
    } else {
      if (this.#isAsking) this.tell((watcher) => watcher.answered(false));
      this.note('— closed by this page\n');
      this.#setState('asleep', 'Asleep: its connection is closed.');
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.#failures = 0;
    while (!signal.aborted) {
      if (this.#state !== 'open') {
        this.#replayedThrough = Line.newestId;
        this.#setState(
          'connecting',
          'Connecting. If this takes long, another window may hold the browser’s six connections.',
        );
      }
      this.tell((watcher) => watcher.asked(this.position));
      this.#isAsking = true;
      let pauseMs: number;
      try {
        pauseMs = await this.ask(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.tell((watcher) => watcher.answered(false));
        pauseMs =
          Math.min(LONGEST_RETRY_MS, this.retryMs * 2 ** this.#failures++) *
          (0.9 + Math.random() * 0.2);
        const reason = error instanceof Error ? error.message : 'unknown';
        const words = `${reason}; retries in ${duration(pauseMs)}`;
        this.note(`— lost: ${words}\n`);
        this.#setState('lost', `Lost: ${words}.`);
      }
      this.#isAsking = false;
      await pause(pauseMs, signal);
    }
  }

  #setState(state: State, words: string): void {
    this.#state = state;
    this.tell((watcher) => watcher.state(state, words));
  }

  protected tell(act: (watcher: Watcher) => void): void {
    this.#watchers.forEach(act);
  }

  protected note(text: string): void {
    this.tell((watcher) => watcher.raw(text, undefined));
  }

  protected came(text: string, bytes: number): void {
    this.tell((watcher) => watcher.raw(text, bytes));
  }

  protected opened(): void {
    this.#failures = 0;
    if (this.#state !== 'open')
      this.#setState('open', `Held open since ${new Date().toLocaleTimeString('en-GB')}.`);
  }

  /** Takes an event, or a gap notice before it. */
  protected take({ id, event: type = 'message', data, gap }: Envelope, isReplay = false): void {
    const arrivedMs = Date.now();
    if (gap !== undefined) {
      const { after, before } = gap;
      const text = `Ids after ${after ?? 'an unknown one'} and before ${before ?? 'the next'} are no longer held.`;
      this.tell((watcher) =>
        watcher.event({
          id: undefined,
          type: 'gap',
          text,
          arrivedMs,
          publishedMs: undefined,
          isReplayed: true,
        }),
      );
    }
    if (id === undefined) return;
    this.position = id;
    const isReplayed = isReplay || id <= this.#replayedThrough;
    this.tell((watcher) => watcher.event({ id, type, ...readData(data), arrivedMs, isReplayed }));
    if (id <= Line.newestId) return;
    Line.newestId = id;
    Line.onNews();
  }
}

/** Does what EventSource does, which does not show its bytes. */
export class StreamLine extends Line {
  protected async ask(signal: AbortSignal): Promise<never> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.position !== undefined) headers['Last-Event-ID'] = String(this.position);
    this.note(
      [
        `→ GET ${CHANNEL}`,
        ...Object.entries(headers).map((header) => `→ ${header.join(': ')}`),
        '',
      ].join('\n'),
    );
    const response = await fetch(CHANNEL, { headers, signal, cache: 'no-store' });
    this.note(
      `← ${response.status} ${response.headers.get('Content-Type') ?? response.statusText}\n`,
    );
    if (response.status !== 200 || response.body === null)
      throw new Error(await refusalOf(response));
    this.came('', headBytes(response));
    this.opened();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    // Replay comes with the first bytes; the rest of a long one has ids that other lines had.
    let isReplay = this.position !== undefined;
    let rest = '';
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const text = decoder.decode(read.value, { stream: true });
      this.came(text, read.value.length);
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) this.#takeBlock(block, isReplay);
      isReplay = false;
    }
    throw new Error('the server ended the stream');
  }

  /** One block of an event stream as Holdline writes it: with LF, and a space after the colon. */
  #takeBlock(block: string, isReplay: boolean): void {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
      fields.set(
        name,
        name === 'data' && fields.has(name) ? `${fields.get(name)}\n${value}` : value,
      );
    }
    if (fields.has('retry')) this.retryMs = Number(fields.get('retry'));
    const [id, event, data] = [fields.get('id'), fields.get('event'), fields.get('data')];
    if (event === 'gap') this.take({ gap: parseJson(data!) as NonNullable<Envelope['gap']> });
    else if (id !== undefined && data === undefined) this.position = Number(id);
    else if (id !== undefined)
      this.take({ id: Number(id), ...(event !== undefined && { event }), data }, isReplay);
  }
}

export class SocketLine extends Line {
  protected ask(signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      const url = new URL(`${CHANNEL}?since=${this.position ?? 'latest'}`, location.href);
      this.note(`→ GET ${url.pathname}${url.search}\n→ Upgrade: websocket\n`);
      url.protocol = url.protocol.replace('http', 'ws');
      const socket = new WebSocket(url);
      signal.addEventListener('abort', () => socket.close());
      socket.addEventListener('open', () => {
        this.note('← 101 Switching Protocols\n');
        this.opened();
      });
      socket.addEventListener('message', ({ data }: MessageEvent<string>) => {
        if (signal.aborted) return;
        const bytes = new TextEncoder().encode(data).length;
        this.came(data, bytes + (bytes < 126 ? 2 : 4));
        for (const line of data.split('\n'))
          if (line !== '') this.take(JSON.parse(line) as Envelope);
      });
      socket.addEventListener('close', ({ code }) => reject(new Error(`closed with code ${code}`)));
    });
  }
}

export class PollLine extends Line {
  readonly #waitS: number;
  readonly #everyMs: number;

  /** Asks with `wait=waitS`, and again `everyMs` after an answer. */
  constructor(watcher: Watcher, waitS: number, everyMs: number) {
    super(watcher);
    this.#waitS = waitS;
    this.#everyMs = everyMs;
  }

  protected async ask(signal: AbortSignal): Promise<number> {
    const since = this.position ?? 'latest';
    const path = `${CHANNEL}?since=${since}&wait=${this.#waitS}&limit=${POLL_LIMIT}`;
    this.note(`→ GET ${path}\n`);
    // A waiting poll has no answer yet: it counts as open until it fails.
    this.opened();
    const response = await fetch(path, {
      headers: { Accept: 'application/json' },
      signal,
      cache: 'no-store',
    });
    if (!response.ok) throw new Error(await refusalOf(response));
    const body = await response.arrayBuffer();
    const text = new TextDecoder().decode(body);
    const position = response.headers.get('Holdline-Position');
    this.note(`← ${response.status} ${response.statusText}\n← Holdline-Position: ${position}\n`);
    this.came(text === '' ? '' : `${text}\n`, headBytes(response) + body.byteLength);
    this.tell((watcher) => watcher.answered(response.status === 204));
    if (text !== '') for (const object of JSON.parse(text) as Envelope[]) this.take(object);
    this.position = Number(position);
    return this.#everyMs;
  }
}
