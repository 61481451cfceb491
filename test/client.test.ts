/**
 * The browser client against a network of the test's own: every byte and every millisecond is the
 * test's to say.
 */
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { fc } from './support/properties.js';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  HoldlineSource,
  type HoldlineEvent,
  type HoldlineOptions,
} from '../dist/browser/client.js';

const URL_OF_CHANNEL = 'http://feed.example/notifications';

/** One request of the client, answered by the test. */
class Asked {
  readonly url: URL;
  readonly init: RequestInit;
  /** What the browser sends: names in small letters, what stands there twice as one. */
  readonly headers: Readonly<Record<string, string>>;
  readonly answered: Promise<Response>;
  #answer!: (response: Response) => void;
  #refuse!: (error: Error) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(url: URL, init: RequestInit) {
    this.url = url;
    this.init = init;
    this.headers = Object.fromEntries(new Headers(init.headers));
    this.answered = new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#refuse = reject;
    });
    init.signal!.addEventListener('abort', () => this.cut());
  }

  get isStream(): boolean {
    return this.headers['accept'] === 'text/event-stream';
  }

  get aborted(): boolean {
    return this.init.signal!.aborted;
  }

  /** The parameter of the query, or null. */
  query(name: string): string | null {
    return this.url.searchParams.get(name);
  }

  /** A whole answer. */
  answer(status: number, body?: unknown, headers: Record<string, string> = {}): void {
    const type = { 'Content-Type': 'application/json' };
    this.#answer(
      new Response(body === undefined ? null : JSON.stringify(body), {
        status,
        headers: { ...type, ...headers },
      }),
    );
  }

  respond(response: Response): void {
    this.#answer(response);
  }

  /** Nothing came in the time the poll waited. */
  nothing(position: number): void {
    this.answer(204, undefined, { 'Holdline-Position': String(position) });
  }

  /** The head of a stream. */
  head(): void {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#body = controller),
    });
    this.#answer(new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }));
  }

  /** Head and prelude of a stream. */
  stream(position: number, retryMs = 3000): void {
    this.head();
    this.send(`retry: ${retryMs}\nid: ${position}\n\n`);
  }

  send(bytes: string | Uint8Array): void {
    this.#body!.enqueue(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes);
  }

  end(): void {
    this.#body!.close();
  }

  /** The network fails, before the head or after it. */
  cut(): void {
    const error = new TypeError('network error');
    this.#refuse(error);
    try {
      this.#body?.error(error);
    } catch {
      // It has ended already.
    }
  }
}

let asked: Asked[] = [];

beforeEach(() => {
  asked = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  vi.spyOn(Math, 'random').mockReturnValue(0);
  vi.stubGlobal('fetch', (url: URL, init: RequestInit) => {
    const one = new Asked(url, init);
    asked.push(one);
    return one.answered;
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Turns of the loop, none of which takes time on the fake clock. */
async function until<T>(what: string, condition: () => T | false | null | undefined): Promise<T> {
  for (let turns = 0; turns < 200; turns++) {
    const value = condition();
    if (value) return value;
    await turn();
  }
  throw new Error(
    `not after 200 turns: ${what}; asked ${asked.map(({ url }) => url.href).join(' ')}`,
  );
}

/** The nth request, from 1. */
function request(count: number): Promise<Asked> {
  return until(`request ${count}`, () => asked[count - 1]);
}

/** Lets happen what needs no time, and expects that no request was among it. */
async function asksNothing(): Promise<void> {
  const before = asked.length;
  for (let turns = 0; turns < 20; turns++) await turn();
  expect(asked).toHaveLength(before);
}

/**
 * Passes time up to just before `ms` and expects that nothing is asked, then passes the last one
 * and gives the request.
 */
async function requestAfter(ms: number): Promise<Asked> {
  await asksNothing();
  const before = asked.length;
  vi.advanceTimersByTime(ms - 1);
  await asksNothing();
  vi.advanceTimersByTime(1);
  return request(before + 1);
}

/**
 * A source and what it has told, in order, as `type data` with the id and the channel where there
 * are any.
 */
function open(
  options: HoldlineOptions = {},
  url = URL_OF_CHANNEL,
): { source: HoldlineSource; told: string[] } {
  const source = new HoldlineSource(url, options);
  onTestFinished(() => source.close());
  const told: string[] = [];
  source.addEventListener('open', () => told.push(`open ${source.transport}`));
  source.addEventListener('error', () => told.push(`error ${source.readyState}`));
  const take = ({ type, data, lastEventId, channel }: HoldlineEvent): void =>
    void told.push(`${type} ${data} ${lastEventId} ${channel}`.trimEnd());
  for (const type of ['message', 'notice', 'gap', 'end']) source.addEventListener(type, take);
  return { source, told };
}

/** An event as an envelope. */
function envelope(
  id: number,
  data: unknown,
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  return { ...more, id, channel: 'notifications', data };
}

/** An event as a block of a stream. */
function block(id: number, data: unknown): string {
  return `id: ${id}\ndata: ${JSON.stringify(envelope(id, data))}\n\n`;
}

/**
 * A source in long-polls whose first poll, which does not wait, has been answered; the second one
 * is given.
 */
async function polling(
  position: number,
  options: HoldlineOptions = {},
): Promise<ReturnType<typeof open> & { poll: Asked }> {
  const opened = open({ transport: 'long-poll', ...options });
  (await request(1)).nothing(position);
  return { ...opened, poll: await request(2) };
}

describe('the file', () => {
  const read = (name: string): Buffer =>
    readFileSync(new URL(`../dist/browser/${name}`, import.meta.url));

  it('is one module without imports, of at most 3,000 bytes when it is compressed', () => {
    const code = read('client.js');
    expect(gzipSync(code).length).toBeLessThanOrEqual(3000);
    expect(code.toString()).not.toMatch(/\bimport\b|\brequire\b|sourceMappingURL/);
  });

  it('has its words in the declarations', () => {
    expect(read('client.d.ts').toString()).toContain(
      '/** Closes permanently. No event follows. */',
    );
  });
});

describe('what is asked', () => {
  it('is a stream of envelopes, from now on, past every cache', async () => {
    const { source } = open();
    const { url, init, headers } = await request(1);
    expect(url.href).toBe(`${URL_OF_CHANNEL}?envelope=1`);
    expect(headers).toEqual({ accept: 'text/event-stream' });
    expect(init).toMatchObject({
      credentials: 'same-origin',
      cache: 'no-store',
    });
    expect(source).toMatchObject({
      url: URL_OF_CHANNEL,
      readyState: 0,
      withCredentials: false,
      transport: 'sse',
    });
  });

  it('keeps the query, the headers and the credentials that were given', async () => {
    open(
      { headers: { Authorization: 'Bearer x' }, withCredentials: true, since: 0 },
      `${URL_OF_CHANNEL},b?token=a%26b`,
    );
    const { url, init, headers } = await request(1);
    expect(url.pathname).toBe('/notifications,b');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      token: 'a&b',
      envelope: '1',
      since: '0',
    });
    expect(headers).toEqual({ authorization: 'Bearer x', accept: 'text/event-stream' });
    expect(init.credentials).toBe('include');
  });

  it.each(['lastEventId=3', 'Last-Event-ID=3&last_event_id=3', 'LASTEVENTID=3'])(
    'has the newest position alone once there is one, in place of %s',
    async (query) => {
      open({}, `${URL_OF_CHANNEL}?${query}&tenant=a`);
      const stream = await request(1);
      expect(stream.url.search, 'as it was given').toBe(`?${query}&tenant=a&envelope=1`);
      stream.stream(5);
      await asksNothing();
      stream.cut();
      const { url } = await requestAfter(3000);
      expect(url.search).toBe('?tenant=a&envelope=1&last_event_id=5');
    },
  );

  it.each(['sse', 'long-poll'] as const)(
    'has a Last-Event-ID that was given as a header until there is a position, over %s',
    async (transport) => {
      // The header beats the URL: with it all that follows would come again and again.
      const given = { 'last-event-id': '3', accept: 'text/plain', 'X-Tenant': 'a' };
      open({ transport, headers: given });
      const first = await request(1);
      const accept = transport === 'sse' ? 'text/event-stream' : 'application/json';
      expect(first.headers).toEqual({ 'last-event-id': '3', accept, 'x-tenant': 'a' });
      if (transport === 'sse') {
        first.stream(5);
        await asksNothing();
        first.cut();
        await requestAfter(3000);
      } else first.answer(200, [envelope(5, 'a')]);
      const next = await request(2);
      expect(next.query('last_event_id')).toBe('5');
      expect(next.headers).toEqual({ accept, 'x-tenant': 'a' });
      expect(given['last-event-id']).toBe('3');
    },
  );

  it('has the names of EventSource for its states', () => {
    expect([HoldlineSource.CONNECTING, HoldlineSource.OPEN, HoldlineSource.CLOSED]).toEqual([
      0, 1, 2,
    ]);
    const { source } = open();
    expect([source.CONNECTING, source.OPEN, source.CLOSED]).toEqual([0, 1, 2]);
  });

  it('is given up when the source is closed at once, and nobody is told', async () => {
    const { source, told } = open();
    source.close();
    expect((await request(1)).aborted).toBe(true);
    await asksNothing();
    expect({ told, readyState: source.readyState, timers: vi.getTimerCount() }).toEqual({
      told: [],
      readyState: 2,
      timers: 0,
    });
  });

  it('is refused with a TypeError where the URL cannot be read', () => {
    expect(() => new HoldlineSource('http://')).toThrow(TypeError);
    expect(asked).toEqual([]);
  });
});

describe('a stream', () => {
  it('is open once its position is known, and gives each event its type, text, id, channel and origin', async () => {
    const { source, told } = open();
    const origins: string[] = [];
    source.addEventListener('message', ({ origin }) => origins.push(origin));
    const stream = await request(1);
    stream.head();
    stream.send('retry: 3000\n');
    await asksNothing();
    expect(told).toEqual([]);
    stream.send('id: 4\n\n');
    await until('open', () => source.readyState === 1);
    stream.send(block(5, 'a\nb') + block(6, { n: [1, null] }) + block(7, 8));
    stream.send(
      `id: 9\nevent: notice\ndata: {"id":9,"channel":"b","event":"notice","data":""}\n\n`,
    );
    await until('four events', () => told.length === 5);
    expect(told).toEqual([
      'open sse',
      'message a\nb 5 notifications',
      'message {"n":[1,null]} 6 notifications',
      'message 8 7 notifications',
      'notice  9 b',
    ]);
    expect(origins).toEqual(Array.from({ length: 3 }, () => 'http://feed.example'));
  });

  it('calls the handlers that stand on it, each with its event', async () => {
    const { source } = open();
    const called: unknown[] = [];
    const call = ({ type }: Event): void => void called.push(type);
    Object.assign(source, { onopen: call, onmessage: call, onerror: call });
    const stream = await request(1);
    stream.stream(4);
    stream.send(block(5, 'a'));
    stream.end();
    await until('three calls', () => called.length === 3);
    expect(called).toEqual(['open', 'message', 'error']);
  });

  it('is read alike however its bytes are cut and its lines are ended', async () => {
    const lineEnd = fc.constantFrom('\n', '\r', '\r\n');
    const data = fc.oneof(fc.string({ unit: 'grapheme' }), fc.json());
    const type = fc.constantFrom(undefined, 'notice');
    const noise = fc.constantFrom(
      '',
      ': é',
      'data',
      'unknown: 1',
      'id: 3\0',
      'retry: soon',
      'retry',
    );
    const events = fc.array(fc.tuple(data, type, lineEnd, noise), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.boolean(),
        fc.array(fc.nat(), { maxLength: 40 }),
        async (list, bom, cuts) => {
          asked = [];
          const { source, told } = open();
          let text = bom ? '\uFEFF' : '';
          let expected = 0;
          const wanted = ['open sse'];
          for (const [value, event, end, comment] of [
            ['first', undefined, '\n', ''] as const,
            ...list,
          ]) {
            const id = ++expected;
            // Written over several lines, which the fields of a stream put together again.
            const json = JSON.stringify({ id, channel: 'é', event, data: value }, null, 1).split(
              '\n',
            );
            const lines = [
              `id: ${id}`,
              ...(comment === '' || comment === 'data' ? [] : [comment]),
              ...(event === undefined ? [] : [`event:${event}`]),
              ...json.map((line) => `data: ${line}`),
              ...(comment === 'data' ? ['data'] : []),
              '',
            ];
            text += lines.map((line) => line + end).join('');
            wanted.push(`${event ?? 'message'} ${value} ${id} é`);
          }
          const bytes = new TextEncoder().encode(text);
          const stream = await request(1);
          stream.head();
          const at = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b);
          for (const [index, start] of [0, ...at].entries())
            stream.send(bytes.subarray(start, [...at, bytes.length][index]));
          await until('all events', () => told.length >= wanted.length);
          source.close();
          expect(told).toEqual(wanted);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('dispatches at a CR without waiting whether an LF follows, and takes one that does for a part of it', async () => {
    const { told } = open();
    const stream = await request(1);
    stream.stream(1);
    stream.send(block(2, 'a').replaceAll('\n', '\r'));
    await until('the event', () => told.includes('message a 2 notifications'));
    stream.send('\n');
    stream.send('\n');
    stream.send(`${block(3, 'b').trimEnd()}\r`);
    await asksNothing();
    stream.send('\n\r');
    await until('the next', () => told.includes('message b 3 notifications'));
    expect(told).toHaveLength(3);
  });

  it('that is cut comes back after the last whole block, be it an event or an id alone', async () => {
    const { told } = open();
    const first = await request(1);
    first.stream(4);
    first.send(`${block(5, 'a')}id: 6\ndata: {"id":6`);
    await until('the event', () => told.length === 2);
    first.cut();
    await until('the loss', () => told.at(-1) === 'error 0');
    const second = await requestAfter(3000);
    expect(second.query('last_event_id')).toBe('5');
    second.stream(5, 200);
    second.send('retry: soon\n\nretry: -1\n\n: keepalive\nid: 90\n\nid: 91\0\n\n');
    await until('open again', () => told.length === 4);
    second.end();
    expect((await requestAfter(200)).query('last_event_id')).toBe('90');
    expect(told).toEqual([
      'open sse',
      'message a 5 notifications',
      'error 0',
      'open sse',
      'error 0',
    ]);
  });

  it('tells a gap before what follows it, as an event and to the callback', async () => {
    const gaps: unknown[] = [];
    const { told } = open({ since: 4, onGap: (gap) => gaps.push(gap) });
    const stream = await request(1);
    stream.stream(117);
    stream.send(`event: gap\ndata: {"after":4,"before":118}\n\n${block(118, 'x')}`);
    await until('the event', () => told.length === 3);
    expect(told).toEqual([
      'open sse',
      'gap {"after":4,"before":118} 117',
      'message x 118 notifications',
    ]);
    expect(gaps).toEqual([{ after: 4, before: 118 }]);
  });

  it.each([
    [true, 0],
    [false, 2],
  ])(
    'that the server ends with reconnect: %s leaves readyState %i',
    async (reconnect, readyState) => {
      const ends: unknown[] = [];
      const { source, told } = open({ onEnd: (end) => ends.push(end) });
      const stream = await request(1);
      stream.stream(1);
      stream.send(`event: end\ndata: {"code":"draining","reconnect":${reconnect}}\n\n`);
      stream.end();
      await until('the error', () => told.length === 3);
      expect(told).toEqual([
        'open sse',
        `end {"code":"draining","reconnect":${reconnect}} 1`,
        `error ${readyState}`,
      ]);
      expect(ends).toEqual([{ code: 'draining', reconnect }]);
      expect(source.readyState).toBe(readyState);
      if (reconnect) await requestAfter(3000);
      vi.advanceTimersByTime(120_000);
      if (!reconnect) await asksNothing();
    },
  );

  it('that is closed by a listener gives nothing more, not even what came in the same bytes', async () => {
    const { source, told } = open();
    source.addEventListener('message', () => source.close());
    const stream = await request(1);
    stream.stream(1);
    stream.send(
      block(2, 'a') + block(3, 'b') + 'event: end\ndata: {"code":"deleted","reconnect":false}\n\n',
    );
    await until('closed', () => stream.aborted);
    vi.advanceTimersByTime(120_000);
    await asksNothing();
    expect(told).toEqual(['open sse', 'message a 2 notifications']);
    expect(source.readyState).toBe(2);
  });

  it('that falls silent is asked for again', async () => {
    const { told } = open();
    const stream = await request(1);
    stream.stream(4);
    await until('open', () => told.length === 1);
    for (let beats = 0; beats < 3; beats++) {
      vi.advanceTimersByTime(44_999);
      stream.send(': keepalive\n\n');
      await asksNothing();
    }
    vi.advanceTimersByTime(44_999);
    await asksNothing();
    expect(stream.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    await until('the loss', () => told.at(-1) === 'error 0');
    const again = await requestAfter(3000);
    expect({ isStream: again.isStream, position: again.query('last_event_id') }).toEqual({
      isStream: true,
      position: '4',
    });
  });

  it.each([
    [204, undefined],
    [400, 'application/json'],
    [404, 'application/json; charset=utf-8'],
  ])('that is answered %i by the server closes for good', async (status, type) => {
    const { told } = open();
    (await request(1)).answer(
      status,
      status === 204 ? undefined : {},
      type === undefined ? {} : { 'Content-Type': type },
    );
    await until('the error', () => told.length > 0);
    expect(told).toEqual(['error 2']);
    vi.advanceTimersByTime(120_000);
    await asksNothing();
  });
});

describe('pauses', () => {
  it('are no storm when something asks for one that is longer than a timer can be', async () => {
    open({ silentMs: Infinity });
    (await request(1)).respond(
      new Response(null, { status: 503, headers: { 'Retry-After': '3000000' } }),
    );
    (await requestAfter(2 ** 31 - 1)).stream(1);
    await asksNothing();
    vi.advanceTimersByTime(2 ** 31 - 2);
    await asksNothing();
  });

  it('double up to 30 s while nothing answers, and begin again after it was open', async () => {
    const { told } = open({ transport: 'sse' });
    (await request(1)).cut();
    for (const ms of [3000, 6000, 12_000, 24_000, 30_000, 30_000]) (await requestAfter(ms)).cut();
    const stream = await requestAfter(30_000);
    stream.stream(1, 5000);
    await until('open', () => told.at(-1) === 'open sse');
    stream.cut();
    (await requestAfter(5000)).cut();
    await requestAfter(10_000);
    expect(asked.every(({ isStream }) => isStream)).toBe(true);
  });

  it('grow also where the server says `retry: 0`', async () => {
    open({ transport: 'sse' });
    const stream = await request(1);
    stream.stream(1, 0);
    await asksNothing();
    stream.cut();
    for (const ms of [100, 200, 400, 800]) (await requestAfter(ms)).cut();
  });

  it('are spread where the server has said nothing', async () => {
    vi.mocked(Math.random).mockReturnValue(0.5);
    open({ transport: 'sse' });
    (await request(1)).cut();
    await requestAfter(4000);
  });

  it.each([408, 425, 429, 500, 503])(
    'are as long as Retry-After says after a %i, once',
    async (status) => {
      const { told } = open({ transport: 'sse' });
      const refused = await request(1);
      refused.answer(status, {}, { 'Retry-After': '20' });
      const next = await requestAfter(20_000);
      expect(refused.aborted, 'its body is not waited for').toBe(true);
      next.cut();
      await requestAfter(6000);
      expect(told).toEqual(['error 0', 'error 0']);
    },
  );

  it('are what a stream says that was refused for now', async () => {
    const { told } = open();
    const refused = await request(1);
    refused.head();
    refused.send('retry: 4321\n\n');
    refused.end();
    expect((await requestAfter(4321)).isStream).toBe(true);
    expect(told).toEqual(['error 0']);
  });

  it('end when the source is closed', async () => {
    const { source } = open({ transport: 'sse' });
    source.addEventListener('error', () => source.close());
    (await request(1)).cut();
    await until('closed', () => source.readyState === 2);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('JSON', () => {
  const json = fc.oneof(
    fc.constantFrom(
      '{"id":9007199254740993,"x":1.0}',
      '{"a":1,"a":2}',
      '1e400',
      '[{"a":"\\"}"},[]]',
      '{ "data" : ",\\"data\\":" }',
      '{"event":"x","data":[{"data":"]"}]}',
      '-0.0',
    ),
    fc.jsonValue().map((value) => JSON.stringify({ value })),
  );
  const events = fc.array(fc.record({ data: json, event: fc.constantFrom('', 'notice') }), {
    minLength: 1,
    maxLength: 5,
  });
  const textOf = (id: number, event: string, data: string): string =>
    `{"id":${id},"channel":"c",${event && `"event":"${event}",`}"data":${data}}`;
  const check = async (
    list: { readonly data: string; readonly event: string }[],
    transport: 'sse' | 'long-poll',
  ): Promise<void> => {
    asked = [];
    const { source, told } = open({ transport });
    const texts = list.map(({ data, event }, i) => textOf(i + 1, event, data));
    const one = await request(1);
    if (transport === 'sse') {
      one.head();
      for (const [i, text] of texts.entries()) one.send(`id: ${i + 1}\ndata: ${text}\n\n`);
    } else {
      const gap = '{"gap":{"after":null,"before":1},';
      one.respond(new Response(`[${gap}${texts.join(',').slice(1)}]`));
    }
    const isEvent = (words: string): boolean => !/^(?:open|gap|error)/.test(words);
    await until('all', () => told.filter(isEvent).length === list.length);
    source.close();
    const wanted = list.map(({ data, event }, i) => `${event || 'message'} ${data} ${i + 1} c`);
    expect(told.filter(isEvent)).toEqual(wanted);
  };

  it.each(['sse', 'long-poll'] as const)('is handed on as it was published over %s', (transport) =>
    fc.assert(fc.asyncProperty(events, (list) => check(list, transport))),
  );
});

describe('a poll', () => {
  it('asks first without waiting, then each time from where the last one ended', async () => {
    const { told, poll } = await polling(4);
    expect(Object.fromEntries(asked[0]!.url.searchParams)).toEqual({ wait: '0', limit: '1000' });
    expect(asked[0]!.headers['accept']).toBe('application/json');
    expect(Object.fromEntries(poll.url.searchParams)).toEqual({
      wait: '25',
      limit: '1000',
      last_event_id: '4',
    });
    poll.answer(200, [envelope(5, 'a'), envelope(6, { n: 1 }, { event: 'notice' })], {
      'Holdline-Position': '6',
    });
    const third = await request(3);
    expect(third.query('last_event_id')).toBe('6');
    vi.advanceTimersByTime(25_000);
    third.nothing(9);
    expect((await request(4)).query('last_event_id')).toBe('9');
    expect(told).toEqual([
      'open long-poll',
      'message a 5 notifications',
      'notice {"n":1} 6 notifications',
    ]);
  });

  it('tells a gap before the event that carries it', async () => {
    const gaps: unknown[] = [];
    const { told, poll } = await polling(4, { onGap: (gap) => gaps.push(gap) });
    poll.answer(200, [envelope(118, 'x', { gap: { after: 4, before: 118 } })]);
    await request(3);
    expect(told.slice(1)).toEqual([
      'gap {"after":4,"before":118} 4',
      'message x 118 notifications',
    ]);
    expect(gaps).toEqual([{ after: 4, before: 118 }]);
  });

  it('whose answer is cut off in the middle is asked again from the same position', async () => {
    const { told, poll } = await polling(4);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('[{"id":5,"channel":"c","data":"a"},'));
        controller.error(new TypeError('network error'));
      },
    });
    poll.respond(new Response(body));
    const again = await requestAfter(3000);
    expect({ wait: again.query('wait'), position: again.query('last_event_id') }).toEqual({
      wait: '0',
      position: '4',
    });
    again.answer(200, [envelope(5, 'a')]);
    await request(4);
    expect(told).toEqual([
      'open long-poll',
      'error 0',
      'open long-poll',
      'message a 5 notifications',
    ]);
  });

  it.each([[{}], [[]], [null], ['id'], [7], [[{}]], [{ error: 'login' }]])(
    'that something between answers with %j is none: it is asked later and later',
    async (body) => {
      const { told, poll } = await polling(4);
      poll.answer(200, body);
      for (const ms of [3000, 6000, 12_000]) (await requestAfter(ms)).answer(200, body);
      const again = await requestAfter(24_000);
      expect(again.query('last_event_id')).toBe('4');
      expect(told).toEqual(['open long-poll', 'error 0', 'error 0', 'error 0', 'error 0']);
    },
  );

  it('is not repeated without pause when something answers it at once', async () => {
    const { poll } = await polling(4);
    poll.nothing(4);
    (await requestAfter(1000)).answer(204);
    expect(
      (await requestAfter(1000)).query('last_event_id'),
      'also where the position was left out',
    ).toBe('4');
  });

  it('that is not answered is given up when its time and the time of silence are over', async () => {
    const { told, poll } = await polling(4, { waitSeconds: 10, silentMs: 20_000 });
    expect(poll.query('wait')).toBe('10');
    vi.advanceTimersByTime(29_999);
    await asksNothing();
    expect(poll.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    await until('the loss', () => told.at(-1) === 'error 0');
  });

  it.each([
    [503, 0],
    [429, 0],
    [400, 2],
    [404, 2],
  ])('that is answered %i leaves readyState %i', async (status, readyState) => {
    const { source, told, poll } = await polling(4);
    poll.answer(status, {}, { 'Retry-After': '4' });
    await until('the error', () => told.at(-1)!.startsWith('error'));
    expect(source.readyState).toBe(readyState);
    if (readyState === 0) expect((await requestAfter(4000)).query('wait')).toBe('0');
    vi.advanceTimersByTime(120_000);
    if (readyState === 2) await asksNothing();
  });
});

describe('falling back', () => {
  it.each([
    ['its head', false],
    ['its first byte', true],
  ])(
    'from a stream that is held back before %s takes 4 s and is no error',
    async (_what, passHead) => {
      const { source, told } = open();
      const stream = await request(1);
      if (passHead) {
        vi.advanceTimersByTime(3000);
        stream.head();
      }
      const poll = await requestAfter(4000);
      expect(stream.aborted).toBe(true);
      expect({ wait: poll.query('wait'), position: poll.query('last_event_id') }).toEqual({
        wait: '0',
        position: null,
      });
      expect(source.transport).toBe('sse');
      poll.nothing(7);
      const waiting = await request(3);
      expect(waiting.isStream).toBe(false);
      expect(waiting.query('last_event_id')).toBe('7');
      expect(told).toEqual(['open long-poll']);
    },
  );

  it('continues where the stream was', async () => {
    const { told } = open();
    const stream = await request(1);
    stream.stream(4);
    stream.send(block(5, 'a'));
    await until('the event', () => told.length === 2);
    stream.cut();
    const held = await requestAfter(3000);
    expect(held.isStream).toBe(true);
    const poll = await requestAfter(4000);
    expect({ isStream: poll.isStream, position: poll.query('last_event_id') }).toEqual({
      isStream: false,
      position: '5',
    });
    poll.answer(200, [envelope(6, 'b'), envelope(7, 'c')]);
    await request(4);
    const texts = told
      .filter((line) => line.startsWith('message'))
      .map((line) => line.split(' ')[1]);
    expect(texts).toEqual(['a', 'b', 'c']);
  });

  it.each([
    [200, 'text/html'],
    [200, 'application/json'],
    [403, 'text/html'],
    [407, undefined],
  ])('from an answer of something in between, %i %s, is immediate', async (status, type) => {
    const { told } = open();
    (await request(1)).respond(
      new Response('no', { status, headers: type === undefined ? {} : { 'Content-Type': type } }),
    );
    (await request(2)).nothing(7);
    await request(3);
    expect(told).toEqual(['open long-poll']);
  });

  it.each([200, 403])(
    'is not done where only streams are wanted: %i with a page closes for good',
    async (status) => {
      const { told } = open({ transport: 'sse' });
      (await request(1)).respond(
        new Response('no', { status, headers: { 'Content-Type': 'text/html' } }),
      );
      await until('the error', () => told.length > 0);
      expect(told).toEqual(['error 2']);
    },
  );

  it('from streams that fail takes two failures, each followed by a poll that works', async () => {
    const { told } = open();
    (await request(1)).cut();
    (await requestAfter(3000)).answer(200, [envelope(5, 'a')]);
    const again = await request(3);
    expect({ isStream: again.isStream, position: again.query('last_event_id') }).toEqual({
      isStream: true,
      position: '5',
    });
    again.head();
    again.end();
    const poll = await request(4);
    expect({ wait: poll.query('wait'), position: poll.query('last_event_id') }).toEqual({
      wait: '25',
      position: '5',
    });
    poll.answer(200, [envelope(6, 'b')]);
    expect((await request(5)).isStream).toBe(false);
    expect(told).toEqual([
      'error 0',
      'open long-poll',
      'message a 5 notifications',
      'message b 6 notifications',
    ]);
  });

  it('goes on without a word when a stream that is tried again is refused for now', async () => {
    const { told } = open();
    (await request(1)).cut();
    (await requestAfter(3000)).nothing(7);
    const stream = await request(3);
    stream.head();
    stream.send('retry: 9000\n\n');
    stream.end();
    const poll = await request(4);
    expect({ isStream: poll.isStream, wait: poll.query('wait') }).toEqual({
      isStream: false,
      wait: '25',
    });
    expect(told).toEqual(['error 0', 'open long-poll']);
    // Each poll is answered at once: none is followed by a stream before the minute is over.
    vi.advanceTimersByTime(59_999);
    for (let id = 8; id < 20; id++) {
      asked.at(-1)!.answer(200, [envelope(id, 'a')]);
      expect((await request(asked.length + 1)).isStream).toBe(false);
    }
    vi.advanceTimersByTime(1);
    asked.at(-1)!.answer(200, [envelope(20, 'a')]);
    expect((await request(asked.length + 1)).isStream).toBe(true);
  });

  it('is not done while polls fail as streams do: then it is the network', async () => {
    const { told } = open();
    (await request(1)).cut();
    for (const [count, ms] of [3000, 6000, 12_000, 24_000, 30_000, 30_000].entries()) {
      const one = await requestAfter(ms);
      expect(one.isStream).toBe(count % 2 === 1);
      one.cut();
    }
    (await requestAfter(30_000)).nothing(7);
    (await request(9)).stream(7);
    await until('open', () => told.at(-1) === 'open sse');
  });

  it('is slower for a stream that has flowed: a restart costs no polls', async () => {
    const { told } = open();
    const stream = await request(1);
    stream.stream(4);
    await until('open', () => told.length === 1);
    vi.advanceTimersByTime(4001);
    stream.send(': keepalive\n\n');
    await asksNothing();
    stream.cut();
    (await requestAfter(3000)).cut();
    const third = await requestAfter(6000);
    expect(third.isStream).toBe(true);
    third.cut();
    expect((await requestAfter(12_000)).isStream).toBe(false);
  });

  it('is undone when a stream works again, which is tried after a minute, and later and later', async () => {
    const { told } = open();
    (await requestAfter(4000)).nothing(7);
    await request(3);
    /** Lets each poll wait in vain until a stream is asked for; the time that took, ms. */
    const pollUntilStream = async (): Promise<number> => {
      let passedMs = 0;
      for (; !asked.at(-1)!.isStream; passedMs += 25_000) {
        vi.advanceTimersByTime(25_000);
        asked.at(-1)!.nothing(7);
        await request(asked.length + 1);
      }
      return passedMs;
    };
    expect(await pollUntilStream()).toBe(75_000);
    await requestAfter(4000);
    expect(await pollUntilStream()).toBe(275_000);
    const stream = asked.at(-1)!;
    expect(stream.query('last_event_id')).toBe('7');
    expect(told).toEqual(['open long-poll']);
    stream.stream(7);
    await until('open', () => told.length === 2);
    expect(told[1]).toBe('open sse');
    // It flows, and all is forgiven: what is held back next is a first time again.
    vi.advanceTimersByTime(4001);
    stream.send(': keepalive\n\n');
    await asksNothing();
    stream.cut();
    const count = asked.length;
    expect((await requestAfter(3000)).isStream).toBe(true);
    (await requestAfter(4000)).nothing(7);
    expect((await request(count + 3)).isStream).toBe(true);
  });
});
