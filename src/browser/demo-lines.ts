/**
 * The lines of the demo page: each asks from its position, takes events, and comes back after a
 * loss. How it asks is its transport's (demo-transports.ts).
 */

/** The path of the page's one channel: the server may have a base path, as a proxy may. */
export const CHANNEL = new URL('../notifications', import.meta.url).pathname;

/** Pause before a reconnect until the server sends `retry`; each further failure doubles it. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;

/** The code of the end that a line is given when the server shuts down in order. */
const RESTART = 'draining';

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
  /** A gap notice after a restart for which the server had ended the line: nothing was lost. */
  readonly isAfterRestart?: boolean;
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
export interface Envelope {
  readonly id?: number;
  readonly event?: string;
  readonly data?: unknown;
  readonly gap?: { readonly after: number | null; readonly before: number | null };
  readonly end?: { readonly code: string };
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

/** Why a line was lost; a fetch that has no answer rejects with words of the browser's own. */
function reasonOf(error: unknown, endCode: string | undefined): string {
  if (endCode !== undefined) return `the server ended it (${endCode})`;
  if (error instanceof TypeError) return 'the server cannot be reached';
  return error instanceof Error ? error.message : 'unknown';
}

export function parseJson(text: string): unknown {
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
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
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
  /** Above 0, since it is doubled. */
  protected retryMs = FIRST_RETRY_MS;
  /** Events up to this id were published before the current connection. */
  #replayedThrough = 0;
  readonly #watchers: readonly Watcher[];
  #controller: AbortController | undefined;
  #state: State | undefined;
  #failures = 0;
  #isWanted = false;
  #isAsking = false;
  /** Why the server ended it, and the position that it had then. */
  #ended: { readonly code: string; readonly position: number | undefined } | undefined;
  /** The current request was given a position: a server that has no place only says `retry`. */
  #wasHeld = false;

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
      const endedBefore = this.#ended;
      this.#wasHeld = false;
      let pauseMs: number;
      try {
        pauseMs = await this.ask(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.tell((watcher) => watcher.answered(false));
        pauseMs =
          Math.min(LONGEST_RETRY_MS, this.retryMs * 2 ** this.#failures++) *
          (0.9 + Math.random() * 0.2);
        const hasEnded = this.#ended !== endedBefore;
        // It was held again since, so the next gap is not that restart's.
        if (!hasEnded && this.#wasHeld) this.#ended = undefined;
        const reason = reasonOf(error, hasEnded ? this.#ended?.code : undefined);
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

  /** It was lost, and has not been open since. */
  protected get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** Everything up to this id has come. */
  protected at(id: number): void {
    this.position = id;
    this.#wasHeld = true;
  }

  /** Takes an event, a gap notice before it, or the notice of the end. */
  protected take(
    { id, event: type = 'message', data, gap, end }: Envelope,
    isReplay = false,
  ): void {
    const arrivedMs = Date.now();
    if (end !== undefined) this.#ended = { code: end.code, position: this.position };
    if (gap !== undefined) {
      const { after, before } = gap;
      // A server that shuts down in order gives its lines everything before it ends them.
      const isAfterRestart =
        this.#ended?.code === RESTART && after !== null && this.#ended.position === after;
      const text = isAfterRestart
        ? 'The server restarted. It no longer holds what it sent before.'
        : `Ids after ${after ?? 'an unknown one'} and before ${before ?? 'the next'} are no longer held.`;
      this.tell((watcher) =>
        watcher.event({
          id: undefined,
          type: 'gap',
          text,
          arrivedMs,
          publishedMs: undefined,
          isReplayed: true,
          isAfterRestart,
        }),
      );
    }
    if (id === undefined) return;
    this.#ended = undefined;
    this.at(id);
    const isReplayed = isReplay || id <= this.#replayedThrough;
    this.tell((watcher) => watcher.event({ id, type, ...readData(data), arrivedMs, isReplayed }));
    if (id <= Line.newestId) return;
    Line.newestId = id;
    Line.onNews();
  }
}
