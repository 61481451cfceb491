/**
 * `holdline/client`: an EventSource for the browser over event streams, and over long-polls where
 * something between buffers or blocks streams.
 */

export type Transport = 'sse' | 'long-poll';

/**
 * Events after the id `after` and before the id `before` were lost. Null: the position was
 * unreadable, or no event has followed yet.
 */
export interface Gap {
  readonly after: number | null;
  readonly before: number | null;
}

/** The server ended the line. Where `reconnect` is true the source reconnects by itself. */
export interface End {
  readonly code: string;
  readonly reconnect: boolean;
}

/**
 * A MessageEvent. `data` is the published text, or JSON as it was published (a string alone: its
 * text); `lastEventId` is its id. The server's own events `gap` and `end` have a {@link Gap} or an
 * {@link End} as JSON and no channel.
 */
export interface HoldlineEvent extends MessageEvent {
  readonly data: string;
  readonly lastEventId: string;
  readonly channel: string;
  /** The origin of the URL after redirects. */
  readonly origin: string;
}

/** Undefined means the default. */
export interface HoldlineOptions {
  /**
   * `auto` starts with a stream and falls back to long-polls where streams are buffered or blocked;
   * the others never change. Default `auto`.
   */
  readonly transport?: Transport | 'auto' | undefined;
  /**
   * The id to continue after: 0 for everything held, `latest` for new events only. Default: what
   * the URL says, else `latest`.
   */
  readonly since?: number | 'latest' | undefined;
  /** Headers of every request. To another origin most of them cost a preflight. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Send cookies to another origin, too. Default false. */
  readonly withCredentials?: boolean | undefined;
  /** Called for every loss, before the events that follow it. */
  readonly onGap?: ((gap: Gap) => void) | undefined;
  /** Called when the server ends the line. */
  readonly onEnd?: ((end: End) => void) | undefined;
  /**
   * A stream counts as buffered when its first byte takes longer than this after the request, or
   * after its head. Default 4,000 ms.
   */
  readonly firstByteMs?: number | undefined;
  /**
   * A stream without a byte for this long is lost; the server's heartbeat must be well below it.
   * Default 45,000 ms.
   */
  readonly silentMs?: number | undefined;
  /** Time the server may hold a long-poll, seconds, 0 to 60. Default 25. */
  readonly waitSeconds?: number | undefined;
}

type Listener =
  | ((event: HoldlineEvent) => void)
  | { handleEvent(event: HoldlineEvent): void }
  | null;

/** An EventTarget with typed listeners. */
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

/** An event as streams and polls carry it. */
interface Envelope {
  readonly gap?: Gap;
  readonly id: number;
  readonly channel: string;
  readonly event?: string;
  readonly data: unknown;
}

/** Pause before another attempt, ms, unless the server asks for more. */
const PAUSE_MS_MAX = 30_000;

/**
 * Time with long-polls before a stream is tried again, ms; doubled for each stream that fails, up
 * to 16 times.
 */
const POLLING_MS = 60_000;

/**
 * A long-poll with an empty answer within this time, ms, was not held; the next one is sent after
 * twice that time.
 */
const NOT_HELD_MS_MAX = 500;

/** A longer timer would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Strings and brackets of JSON. */
const TOKENS = /"(?:[^"\\]+|\\.)*"|[[\]{}]/g;

/** The texts of the objects in an array. */
function textsIn(array: string): string[] {
  const texts: string[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: token, index } of array.matchAll(TOKENS)) {
    if (token === '[' || token === '{') {
      if (depth++ === 1) start = index;
    } else if (token[0] !== '"' && --depth === 1) texts.push(array.slice(start, index + 1));
  }
  return texts;
}

/** Statuses that may be different for the same request later. */
const TEMPORARY = /^(5..|408|425|429)$/;

/**
 * An EventSource for Holdline with the same states, events and properties, and `event.channel` for
 * URLs with several channels. It reconnects by itself after the last event that it dispatched: over
 * both transports nothing is lost without a gap notice, and nothing comes twice. `open` is fired
 * when nothing published from then on can be missed, and again when the transport has changed. A
 * 204, a permanent refusal, and an end without `reconnect` close it with an `error` event.
 */
export class HoldlineSource extends (EventTarget as new () => HoldlineTarget) {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSED = 2;

  /** The resolved URL. */
  readonly url: string;
  readonly withCredentials: boolean;
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: HoldlineEvent) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;

  readonly #options: HoldlineOptions;
  readonly #firstByteMs: number;
  readonly #silentMs: number;
  #state: number = this.CONNECTING;
  #transport: Transport;
  /** The id of the last event, or the last position that the server sent. */
  #position: string | undefined;
  #origin = '';
  /**
   * Random until the server sends `retry`, so that clients do not come back together. Above 0: it
   * is doubled.
   */
  #retryMs = 3000 + 2000 * Math.random();
  #retryAfterMs = 0;
  /** Consecutive attempts without `open`. */
  #failures = 0;
  /**
   * Signs since the last poll that streams do not get through; above 0 a poll is tried. They count
   * as strikes only if that poll reaches the server.
   */
  #suspicion = 0;
  /** One may be a restart of the server; from the second one long-polls are used for a while. */
  #strikes = 0;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Connects at once. Throws TypeError for an invalid URL. */
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

  /** The transport in use. */
  get transport(): Transport {
    return this.#transport;
  }

  /** Closes permanently. No event follows. */
  close(): void {
    this.#state = this.CLOSED;
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    let polling = this.#transport === 'long-poll';
    let streamAtMs = polling ? Infinity : 0;
    while (this.#state !== this.CLOSED) {
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
        // A stream that was tried while long-polls work, and did not open: they just continue, and
        // without this the next stream would follow the next poll at once.
        const isTrial = this.#state === this.OPEN && this.#transport === 'long-poll';
        if (isTrial) streamAtMs = performance.now() + POLLING_MS;
        polling = isTrial || (this.#options.transport !== 'sse' && this.#suspicion > 0);
        goOn = isTrial || (polling && against > 1);
      }
      // Drops what was not read of the answer.
      this.#abort.abort();
      if (goOn || this.#state === this.CLOSED) continue;
      this.#state = this.CONNECTING;
      this.dispatchEvent(new Event('error'));
      const backoffMs = Math.min(this.#retryMs * 2 ** this.#failures++, PAUSE_MS_MAX);
      await this.#pause(Math.max(backoffMs, this.#retryMs, this.#retryAfterMs));
    }
  }

  /**
   * Reads one stream to its end. Returns the signs against streams: 0 none, 1 it brought no byte or
   * fell silent, 2 it is buffered or blocked.
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
        this.#later(this.#firstByteMs);
        const reader = body!.getReader();
        const read = this.#parser();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          this.#later(this.#silentMs);
          heardAtMs ??= performance.now();
          if (performance.now() - heardAtMs > this.#firstByteMs) {
            // It works: a single failure after that means nothing.
            this.#strikes = 0;
            this.#suspicion = -1;
          }
          read(value);
        }
      } else if (!TEMPORARY.test(String(status))) {
        // The server refuses with JSON; anything else comes from something between.
        if (
          this.#options.transport === 'sse' ||
          status === 204 ||
          (status >= 400 && type.startsWith('application/json'))
        )
          this.#fail();
        else return 2;
      }
    } catch {
      // The network or the timer; the next line tells which.
    }
    return Number(heardAtMs === undefined) + Number(this.#abort.signal.aborted);
  }

  /** Takes the bytes of one stream and dispatches its events (HTML Standard, 9.2.6). */
  #parser(): (bytes: Uint8Array) => void {
    const decoder = new TextDecoder();
    let rest = '';
    let id: string | undefined;
    let event = '';
    let data = '';
    return (bytes) => {
      const text = decoder.decode(bytes, { stream: true });
      const lines = (rest + text).split(/\r\n?|\n/);
      // A CR has already ended its line; an LF behind it belongs to it.
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
        else if (field === 'retry' && /^\d+$/.test(value)) this.#retryMs = Number(value) || 100;
        if (line !== '') continue;
        if (id !== undefined) {
          this.#position = id;
          this.#open('sse');
        }
        if (event === 'gap' || event === 'end') {
          this.#emit(event, data.trim());
          if (event === 'end' && !(JSON.parse(data) as End).reconnect) this.#fail();
        } else if (data !== '') this.#take(JSON.parse(data) as Envelope, data);
        event = '';
        data = '';
      }
    };
  }

  /**
   * Polls once and dispatches the events; true when there was an answer. The first poll does not
   * wait, so that `open` comes at once.
   */
  async #poll(): Promise<boolean> {
    const askedAtMs = performance.now();
    const isFirst = this.#state === this.CONNECTING;
    const wait = isFirst ? 0 : (this.#options.waitSeconds ?? 25);
    const response = await this.#ask(
      'application/json',
      { wait, limit: 1000 },
      wait * 1000 + this.#silentMs,
    );
    const { status, headers } = response;
    if (status === 200) {
      const body = await response.text();
      // JSON of something between.
      if (!(JSON.parse(body) as readonly Envelope[])[0]?.id) return false;
      this.#open('long-poll');
      for (const data of textsIn(body)) this.#take(JSON.parse(data) as Envelope, data);
    } else if (status === 204) {
      this.#position = headers.get('Holdline-Position') ?? this.#position;
      this.#open('long-poll');
      if (!isFirst && performance.now() - askedAtMs < NOT_HELD_MS_MAX)
        await this.#pause(2 * NOT_HELD_MS_MAX);
    } else if (!TEMPORARY.test(String(status))) this.#fail();
    return status < 300;
  }

  async #ask(
    accept: string,
    parameters: Record<string, unknown>,
    timeoutMs: number,
  ): Promise<Response> {
    const { since } = this.#options;
    const headers = new Headers(this.#options.headers);
    const url = new URL(this.url);
    const query = url.searchParams;
    for (const [name, value] of Object.entries({ ...parameters, since }))
      if (value !== undefined) query.set(name, String(value));
    if (this.#position !== undefined) {
      // The server reads every spelling, and refuses two that differ.
      for (const name of new Set(query.keys()))
        if (/^lasteventid$/i.test(name.replace(/[-_]/g, ''))) query.delete(name);
      query.set('last_event_id', this.#position);
      // It would beat the query.
      headers.delete('Last-Event-ID');
    }
    headers.set('Accept', accept);
    this.#retryAfterMs = 0;
    this.#abort = new AbortController();
    this.#later(timeoutMs);
    const response = await fetch(url, {
      headers,
      credentials: this.withCredentials ? 'include' : 'same-origin',
      cache: 'no-store',
      signal: this.#abort.signal,
    });
    this.#origin = new URL(response.url || url).origin;
    this.#retryAfterMs = Number(response.headers.get('Retry-After')) * 1000 || 0;
    return response;
  }

  /** Never resolves once closed. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#later(ms, resolve));
  }

  /**
   * Acts after this time, in the place of what was to be done later. Without `act` the request is
   * given up, since nothing has come.
   */
  #later(ms: number, act = (): void => this.#abort.abort()): void {
    clearTimeout(this.#timer);
    if (this.#state !== this.CLOSED) this.#timer = setTimeout(act, Math.min(ms, TIMER_MS_MAX));
  }

  #open(transport: Transport): void {
    this.#failures = 0;
    if (this.#state === this.CLOSED || (this.#state === this.OPEN && this.#transport === transport))
      return;
    this.#state = this.OPEN;
    this.#transport = transport;
    this.dispatchEvent(new Event('open'));
  }

  /** `text` is the envelope's: JSON is handed on as it was published. */
  #take({ gap, id, channel, event = 'message', data }: Envelope, text: string): void {
    if (gap) this.#emit('gap', JSON.stringify(gap));
    this.#position = String(id);
    if (typeof data !== 'string')
      // The last member; in a string before it the quotes would be escaped.
      data = /,"data":(.*)}/s.exec(text)![1];
    this.#emit(event, data as string, channel);
  }

  #emit(type: string, data: string, channel = ''): void {
    if (this.#state === this.CLOSED) return;
    const event = new MessageEvent(type, {
      data,
      lastEventId: this.#position ?? '',
      origin: this.#origin,
    });
    this.dispatchEvent(Object.assign(event, { channel }));
  }

  #fail(): void {
    if (this.#state === this.CLOSED) return;
    this.close();
    this.dispatchEvent(new Event('error'));
  }
}
