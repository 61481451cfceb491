/**
 * A line in the browser: EventSource semantics over an event stream, and over long-polls where
 * something holds the stream back.
 */

/** How events come. */
export type Transport = 'sse' | 'long-poll';

/**
 * Events were lost: those after the id `after` and before the id `before`. Null: the position was
 * unreadable; nothing has followed yet.
 */
export interface Gap {
  readonly after: number | null;
  readonly before: number | null;
}

/**
 * The server ended the line, and why. Where `reconnect` is true the source comes back by itself.
 */
export interface End {
  readonly code: string;
  readonly reconnect: boolean;
}

/**
 * An event, a MessageEvent. `data` is the text that was published, or JSON as text; `lastEventId`
 * is its id. Events of the types `gap` and `end` are the server's own: their data is a {@link Gap}
 * or an {@link End} as JSON, and their channel is empty.
 */
export interface HoldlineEvent extends Event {
  readonly data: string;
  readonly lastEventId: string;
  readonly channel: string;
  /** Where it came from: the origin of the URL, after redirects. */
  readonly origin: string;
}

/** How a source asks. Undefined is the default everywhere. */
export interface HoldlineOptions {
  /**
   * `auto` begins with a stream and falls back to long-polls where streams are held back or
   * blocked; the others stay what they are. Default `auto`.
   */
  readonly transport?: Transport | 'auto' | undefined;
  /**
   * The id to continue after: 0 is everything held, `latest` from now on. Default: what the URL
   * says, else from now on.
   */
  readonly since?: number | 'latest' | undefined;
  /** Header fields of every request. To another origin most of them cost a preflight. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Cookies go to another origin, too. Default false. */
  readonly withCredentials?: boolean | undefined;
  /** Called with every loss, before the events that follow it. */
  readonly onGap?: ((gap: Gap) => void) | undefined;
  /** Called when the server ends the line and says why. */
  readonly onEnd?: ((end: End) => void) | undefined;
  /**
   * A stream is held back when its first byte takes longer than this, from the request or from its
   * head on. Default 4,000 ms.
   */
  readonly firstByteMs?: number | undefined;
  /**
   * A stream without a byte for this long is lost; the server's heartbeat must come well within it.
   * Default 45,000 ms.
   */
  readonly silentMs?: number | undefined;
  /** How long the server may hold a long-poll, seconds, 0 to 60. Default 25. */
  readonly waitSeconds?: number | undefined;
}

type Listener =
  | ((event: HoldlineEvent) => void)
  | { handleEvent(event: HoldlineEvent): void }
  | null;

/** An EventTarget that knows which listeners are given what. */
interface HoldlineTarget extends EventTarget {
  addEventListener(
    type: 'open' | 'error',
    listener: (event: Event) => void,
    options?: AddOptions,
  ): void;
  addEventListener(type: string, listener: Listener, options?: AddOptions): void;
  removeEventListener(
    type: 'open' | 'error',
    listener: (event: Event) => void,
    options?: RemoveOptions,
  ): void;
  removeEventListener(type: string, listener: Listener, options?: RemoveOptions): void;
}

type AddOptions = Parameters<EventTarget['addEventListener']>[2];
type RemoveOptions = Parameters<EventTarget['removeEventListener']>[2];

/** An event in an envelope, as streams and polls carry it. */
interface Envelope {
  readonly gap?: Gap;
  readonly id: number;
  readonly channel: string;
  readonly event?: string;
  readonly data: unknown;
}

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;

/** Longest pause before another attempt, ms, unless the server asked for more. */
const PAUSE_MS = 30_000;

/**
 * How long a source keeps to long-polls before it tries a stream again, ms; longer with each stream
 * that fails, up to 16 times.
 */
const POLLING_MS = 60_000;

/**
 * A long-poll that was answered with nothing sooner than this, ms, was not held; the next one waits
 * twice as long.
 */
const NOT_HELD_MS = 500;

/** Statuses that the same request may not meet later. */
const TEMPORARY = /^(5..|408|425|429)$/;

/**
 * An EventSource for Holdline: the same states, events and properties, and beside them
 * `event.channel`, so that `/a,b` can be told apart. It reconnects by itself and continues after
 * the last event it has dispatched: over both transports nothing is lost without a gap, and nothing
 * comes twice. `open` is fired when nothing that is published from then on can be missed, and again
 * when the transport has changed. A 204, a refusal that would come again, and an end without
 * `reconnect` close it for good, with an `error` event.
 */
export class HoldlineSource extends (EventTarget as new () => HoldlineTarget) {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSED = CLOSED;

  /** The URL it was opened with, resolved. */
  readonly url: string;
  readonly withCredentials: boolean;
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: HoldlineEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;

  readonly #options: HoldlineOptions;
  readonly #firstByteMs: number;
  readonly #silentMs: number;
  #state = CONNECTING;
  #transport: Transport;
  /** The id of the last event that was dispatched, or that the server told. */
  #position: string | undefined;
  #origin = '';
  /** Spread for whoever the server has told nothing yet. */
  #retryMs = 3000 + 2000 * Math.random();
  #retryAfterMs = 0;
  /** Attempts in a row that did not come to `open`. */
  #failures = 0;
  /**
   * What speaks against streams since the last poll; above 0 a poll is tried. It counts only once
   * that has shown that the server is there.
   */
  #suspicion = 0;
  /**
   * What was counted. One failure may have been a restart; from the second on long-polls are kept
   * to.
   */
  #strikes = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Asks at once. Throws TypeError for a URL that cannot be read. */
  constructor(url: string | URL, options: HoldlineOptions = {}) {
    super();
    this.url = new Request(url).url;
    this.#options = options;
    this.#firstByteMs = options.firstByteMs ?? 4000;
    this.#silentMs = options.silentMs ?? 45_000;
    this.withCredentials = options.withCredentials ?? false;
    this.#transport = options.transport === 'long-poll' ? 'long-poll' : 'sse';
    this.addEventListener('open', (event) => this.onopen?.(event));
    this.addEventListener('message', (event) => this.onmessage?.(event));
    this.addEventListener('error', (event) => this.onerror?.(event));
    this.addEventListener('gap', ({ data }) => options.onGap?.(JSON.parse(data) as Gap));
    this.addEventListener('end', ({ data }) => options.onEnd?.(JSON.parse(data) as End));
    void this.#run();
  }

  get readyState(): number {
    return this.#state;
  }

  /** How events come now. */
  get transport(): Transport {
    return this.#transport;
  }

  /** Closes for good. No event follows. */
  close(): void {
    this.#state = CLOSED;
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { transport = 'auto' } = this.#options;
    let polling = transport === 'long-poll';
    let streamAtMs = polling ? Infinity : 0;
    while (this.#state !== CLOSED) {
      let goOn: boolean;
      if (polling) {
        goOn = await this.#poll().catch(() => false);
        if (goOn && this.#suspicion > 0) {
          this.#strikes += this.#suspicion;
          if (this.#strikes > 1)
            streamAtMs = performance.now() + POLLING_MS * 2 ** Math.min(this.#strikes - 2, 4);
        }
        this.#suspicion = 0;
        polling = performance.now() < streamAtMs;
      } else {
        const against = await this.#stream();
        this.#suspicion += against;
        // It was tried while long-polls work, and did not come to `open`: they go on as if nothing
        // had been.
        const inVain = this.#state === OPEN && this.#transport === 'long-poll';
        polling = transport === 'auto' && (inVain || this.#suspicion > 0);
        goOn = polling && (inVain || against > 1);
      }
      // Whatever of an answer was not read is not wanted.
      this.#abort.abort();
      if (goOn || this.#state === CLOSED) continue;
      this.#state = CONNECTING;
      this.dispatchEvent(new Event('error'));
      const backoffMs = Math.min(this.#retryMs * 2 ** this.#failures++, PAUSE_MS);
      await this.#pause(Math.max(backoffMs, this.#retryMs, this.#retryAfterMs));
    }
  }

  /**
   * Reads one stream to its end. What that says against streams: 0 nothing, 1 it brought no byte or
   * fell silent, 2 it is held back or blocked.
   */
  async #stream(): Promise<number> {
    let heardAtMs: number | undefined;
    try {
      const { status, headers, body } = await this.#ask(
        'text/event-stream',
        { envelope: 1 },
        this.#firstByteMs,
      );
      const type = headers.get('Content-Type') ?? '';
      if (status === 200 && type.startsWith('text/event-stream')) {
        this.#arm(this.#firstByteMs);
        const reader = body!.getReader();
        const read = this.#parser();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          this.#arm(this.#silentMs);
          heardAtMs ??= performance.now();
          if (performance.now() - heardAtMs > this.#firstByteMs) {
            // It flows. A single failure after that says nothing.
            this.#strikes = 0;
            this.#suspicion = -1;
          }
          read(value);
        }
      } else if (!TEMPORARY.test(String(status))) {
        // The server refuses with JSON; anything else comes from something in between.
        if (
          this.#options.transport !== 'sse' &&
          status !== 204 &&
          (status < 400 || !type.startsWith('application/json'))
        )
          return 2;
        this.#fail();
      }
    } catch {
      // The network, or the timer: told apart below.
    }
    return Number(heardAtMs === undefined) + Number(this.#abort.signal.aborted);
  }

  /**
   * Takes the bytes of one stream as they come and dispatches its events (HTML standard, 9.2.6).
   */
  #parser(): (bytes: Uint8Array) => void {
    const decoder = new TextDecoder();
    let rest = '';
    let id: string | undefined;
    let event = '';
    let data = '';
    return (bytes) => {
      const text = decoder.decode(bytes, { stream: true });
      const lines = (rest + text).split(/\r\n?|\n/);
      // The CR has ended its line already; an LF right behind it is a part of it.
      if (rest === '\r') lines.shift();
      rest = lines.pop()!;
      if (text.endsWith('\r')) rest = '\r';
      for (const line of lines) {
        const [, field, value] = /([^:]*):? ?(.*)/s.exec(line) as unknown as [
          string,
          string,
          string,
        ];
        if (field === 'data') data += `${value}\n`;
        else if (field === 'event') event = value;
        else if (field === 'id' && !value.includes('\0')) id = value;
        else if (field === 'retry' && /^\d+$/.test(value)) this.#retryMs = Number(value);
        if (line !== '') continue;
        if (id !== undefined) {
          this.#position = id;
          this.#open('sse');
        }
        if (event === 'gap' || event === 'end') {
          this.#emit(event, data.trim());
          if (event === 'end' && !(JSON.parse(data) as End).reconnect) this.#fail();
        } else if (data !== '') this.#take(JSON.parse(data) as Envelope);
        event = '';
        data = '';
      }
    };
  }

  /**
   * Asks once and dispatches what came; true when there was an answer. The first one does not wait,
   * so that `open` comes at once.
   */
  async #poll(): Promise<boolean> {
    const askedAtMs = performance.now();
    const isFirst = this.#state === CONNECTING;
    const wait = isFirst ? 0 : (this.#options.waitSeconds ?? 25);
    const response = await this.#ask(
      'application/json',
      { wait, limit: 1000 },
      wait * 1000 + this.#silentMs,
    );
    const { status, headers } = response;
    if (status === 200) {
      const envelopes = (await response.json()) as Envelope[];
      this.#open('long-poll');
      for (const envelope of envelopes) this.#take(envelope);
    } else if (status === 204) {
      this.#position = headers.get('Holdline-Position') ?? this.#position;
      this.#open('long-poll');
      if (!isFirst && performance.now() - askedAtMs < NOT_HELD_MS)
        await this.#pause(2 * NOT_HELD_MS);
    } else {
      if (!TEMPORARY.test(String(status))) this.#fail();
      return false;
    }
    return true;
  }

  async #ask(
    accept: string,
    parameters: Record<string, unknown>,
    timeoutMs: number,
  ): Promise<Response> {
    const { since, headers } = this.#options;
    const url = new URL(this.url);
    for (const [name, value] of Object.entries({
      ...parameters,
      since,
      last_event_id: this.#position,
    })) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    this.#retryAfterMs = 0;
    this.#abort = new AbortController();
    this.#arm(timeoutMs);
    const response = await fetch(url, {
      headers: { ...headers, Accept: accept },
      credentials: this.withCredentials ? 'include' : 'same-origin',
      cache: 'no-store',
      signal: this.#abort.signal,
    });
    this.#origin = new URL(response.url || url).origin;
    this.#retryAfterMs = Number(response.headers.get('Retry-After')) * 1000 || 0;
    return response;
  }

  /** Ends what is being waited for when it takes longer than this. */
  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#abort.abort(), ms);
  }

  /** Never resolves once closed. */
  #pause(ms: number): Promise<void> {
    clearTimeout(this.#timer);
    return new Promise((resolve) => {
      if (this.#state !== CLOSED) this.#timer = setTimeout(resolve, ms);
    });
  }

  #open(transport: Transport): void {
    this.#failures = 0;
    if (this.#state === CLOSED || (this.#state === OPEN && this.#transport === transport)) return;
    this.#state = OPEN;
    this.#transport = transport;
    this.dispatchEvent(new Event('open'));
  }

  #take({ gap, id, channel, event = 'message', data }: Envelope): void {
    if (gap) this.#emit('gap', JSON.stringify(gap));
    this.#position = String(id);
    this.#emit(event, typeof data === 'string' ? data : JSON.stringify(data), channel);
  }

  #emit(type: string, data: string, channel = ''): void {
    if (this.#state === CLOSED) return;
    const event = new MessageEvent(type, {
      data,
      lastEventId: this.#position ?? '',
      origin: this.#origin,
    });
    this.dispatchEvent(Object.assign(event, { channel }));
  }

  #fail(): void {
    if (this.#state === CLOSED) return;
    this.close();
    this.dispatchEvent(new Event('error'));
  }
}
