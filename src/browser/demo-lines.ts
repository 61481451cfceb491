/**
 * The four ways in which the demo page holds a line: each asks from its position, takes what comes,
 * and comes back after a loss.
 */

/** The one channel of the page. */
export const CHANNEL = '/notifications';

const POLL_LIMIT = 100;
/**
 * Pause before the first reconnect, until the server has said its own; each further failure doubles
 * it.
 */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

export type State = 'connecting' | 'open' | 'asleep' | 'lost';

/** An event as a panel shows it. */
export interface ShownEvent {
  /** Undefined for word of a gap, which has no id. */
  readonly id: number | undefined;
  readonly type: string;
  readonly text: string;
  readonly arrivedMs: number;
  /** When its publisher sent it, if it says so and the clocks agree. */
  readonly publishedMs: number | undefined;
  /** It was published before this connection: the server had kept it. */
  readonly isReplayed: boolean;
}

/** Who looks at a line. */
export interface Watcher {
  state(state: State, words: string): void;
  /** A request leaves, which continues after `position`. */
  asked(position: number | undefined): void;
  /** A request is over. */
  answered(isEmpty: boolean): void;
  event(event: ShownEvent): void;
  /**
   * What stands in the raw pane: text that came as so many bytes, or what the page notes beside it.
   */
  raw(text: string, bytes: number | undefined): void;
}

/** An event, or word of a gap, as polls and WebSockets bring it. */
interface Envelope {
  readonly id?: number;
  readonly event?: string;
  readonly data?: unknown;
  readonly gap?: { readonly after: number | null; readonly before: number | null };
}

/** Milliseconds as a person reads them. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** The words of a refusal: its message if it is Holdline's, else its status. */
export async function refusalOf(response: Response): Promise<string> {
  try {
    return ((await response.json()) as { error: { message: string } }).error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** Bytes of a response's status line and headers, as far as a page sees them. */
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

/**
 * The text and time in an event's data: this page publishes an object with both, curl whatever it
 * likes.
 */
function readData(data: unknown): Pick<ShownEvent, 'text' | 'publishedMs'> {
  const { text, atMs } = Object(typeof data === 'string' ? parseJson(data) : data) as {
    text?: unknown;
    atMs?: unknown;
  };
  if (typeof text !== 'string')
    return { text: typeof data === 'string' ? data : JSON.stringify(data), publishedMs: undefined };
  return { text, publishedMs: typeof atMs === 'number' && atMs <= Date.now() ? atMs : undefined };
}

/** Resolves after `ms`, or at once when the signal is given. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve());
  });
}

/** A feed that is asked for again and again, from the position it has reached. */
export abstract class Line {
  /** The newest id that any line of this page was given. */
  static newestId = 0;
  /** Called when a line is given an id that none had before. */
  static onNews: () => void = () => {};
  static readonly #all: Line[] = [];
  static #isPaused = false;

  /** The id after which it continues. */
  position: number | undefined;
  protected retryMs = FIRST_RETRY_MS;
  /** Events up to this id were published before the present connection. */
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

  /**
   * One request, to its end: resolves with the pause before the next (ms), rejects when the line is
   * lost.
   */
  protected abstract ask(signal: AbortSignal): Promise<number>;

  /** Opens it, or closes it. */
  want(isWanted: boolean): void {
    this.#isWanted = isWanted;
    this.#update();
  }

  /** Closes every line, or opens those that are wanted. */
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
          'Asks. If this takes long, another window may hold the browser’s six connections.',
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
        const words = `${error instanceof Error ? error.message : 'unknown'}; asks again in ${duration(pauseMs)}`;
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

  /** Takes an event, or word of a gap before it. */
  protected take({ id, event: type = 'message', data, gap }: Envelope, isReplay = false): void {
    const arrivedMs = Date.now();
    if (gap !== undefined) {
      const text = `Ids after ${gap.after ?? 'an unknown one'} and before ${gap.before ?? 'the next'} are no longer held.`;
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

/** What EventSource does, done by hand, because an EventSource does not show its bytes. */
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
    // Replay comes with the first bytes; a longer one is told by the ids that other lines of the
    // page were given.
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
    throw new Error('the server ended it');
  }

  /**
   * One block of an event stream (HTML Standard, 9.2.5), as far as Holdline writes them: lines end
   * with LF, fields have a space.
   */
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
    const path = `${CHANNEL}?since=${this.position ?? 'latest'}&wait=${this.#waitS}&limit=${POLL_LIMIT}`;
    this.note(`→ GET ${path}\n`);
    // A poll that waits has told nothing yet: it counts as open until it fails.
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
