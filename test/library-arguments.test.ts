/**
 * What a program may give to the library, and in which order it may call: everything else is a
 * HoldlineError that says what is wrong, and nothing is left out without a word.
 */
import { inspect } from 'node:util';
import { fc } from './support/properties.js';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, HoldlineError, type Server } from '../dist/index.js';
import { resolveOptions } from '../dist/options/settings.js';
import { reloadServer } from '../dist/server/server.js';
import { reasonOf } from '../src/native/listen-failure.js';

const servers: Server[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

/** A server on a free port. What a program in JavaScript may give it is given as `never`. */
function made(options: object = {}): Server {
  const server = createServer({ port: 0, firstId: 1, ...options });
  servers.push(server);
  return server;
}

/** What `act` throws or rejects with: must be a HoldlineError of that code, with its words. */
async function expectError(act: () => unknown, code: string, words: string): Promise<void> {
  let thrown: unknown;
  try {
    await act();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(HoldlineError);
  expect(thrown).toMatchObject({ code, message: expect.stringContaining(words) as string });
  expect((thrown as Error).stack).toContain('library-arguments.test.ts');
}

describe('createServer', () => {
  test.each<[unknown, string]>([
    [null, 'takes an object with options by name (got null)'],
    [8080, '(got 8080)'],
    ['8080', "(got '8080')"],
    [[], '(got [])'],
    [new Map([['port', 80]]), 'takes an object with options by name (got Map'],
    [Object.create({ prot: 80 }), 'did you mean port?'],
    [{ eventSchemas: new Map() }, 'eventSchemas must be an object'],
    [{ prot: 80 }, 'prot is not an option; did you mean port?'],
    [{ Port: 80 }, 'did you mean port?'],
    [{ memoryBudget: 2 ** 26 }, 'did you mean memoryBudgetBytes?'],
    [{ replay: 1 }, 'did you mean replayEvents?'],
    [{ authorise: () => true }, 'did you mean authorize?'],
    [{ onopen: () => {} }, 'did you mean onOpen?'],
    [{ eventSchema: {} }, 'did you mean eventSchemas?'],
    [{ hooks: { onOpen: () => {} } }, 'hooks is not an option; known are'],
    [{ onOpen: 5 }, 'onOpen must be a function'],
    [{ authorize: true }, 'authorize must be a function'],
    [{ eventSchemas: 5 }, 'eventSchemas must be an object'],
    [{ eventSchemas: [] }, 'eventSchemas must be an object'],
    [{ eventSchemas: null }, 'eventSchemas must be an object'],
    [{ eventSchemas: { gap: {} } }, 'eventSchemas: the event type "gap" is reserved'],
    [{ eventSchemas: { a: { type: 'nonsense' } } }, 'does not compile'],
    [{ port: '80' }, 'port must be'],
  ])('refuses %o', async (options, words) => {
    await expectError(() => createServer(options as never), 'HOLDLINE_BAD_OPTION', words);
  });

  test('takes none, and undefined for one', () => {
    servers.push(
      createServer(),
      createServer({ onOpen: undefined, eventSchemas: undefined } as never),
    );
    expect(servers.length).toBe(2);
  });
});

describe('channel', () => {
  test.each<[unknown[], string, string]>([
    [[], 'HOLDLINE_BAD_ARGUMENT', 'channel takes a name'],
    [[5], 'HOLDLINE_BAD_ARGUMENT', '(got 5)'],
    [[['c']], 'HOLDLINE_BAD_ARGUMENT', "(got [ 'c' ])"],
    [[{ name: 'c' }], 'HOLDLINE_BAD_ARGUMENT', 'a string'],
    [['a b'], 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
    [['a%7Eb'], 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
    [['c', { replayEvents: 5 }], 'HOLDLINE_BAD_ARGUMENT', 'given to createServer'],
  ])('refuses %o', async (given, code, words) => {
    const server = made();
    await expectError(() => server.channel(...(given as [never])), code, words);
  });

  test('may be called for each of a list of names, and its functions may be detached', async () => {
    const server = made();
    /* oxlint-disable typescript/unbound-method -- That they need no `this` is the point. */
    const channels = ['a', 'b'].map(server.channel);
    const ids = [{ data: 'x' }, { data: 'y' }].map(channels[0]!.publish);
    expect(await Promise.all(ids)).toEqual([1, 2]);
  });
});

describe('publish', () => {
  const half = 'a\ud83d';

  test.each<[unknown, string, string]>([
    [undefined, 'HOLDLINE_BAD_ARGUMENT', 'takes an object {event?, data}'],
    [null, 'HOLDLINE_BAD_ARGUMENT', '(got null)'],
    ['hello', 'HOLDLINE_BAD_ARGUMENT', "(got 'hello')"],
    [[{ data: 1 }], 'HOLDLINE_BAD_ARGUMENT', 'takes an object {event?, data}'],
    [
      { evnt: 'a', data: 1 },
      'HOLDLINE_BAD_ARGUMENT',
      'unknown member "evnt" (did you mean event?)',
    ],
    [
      { type: 'a', data: 1 },
      'HOLDLINE_BAD_ARGUMENT',
      'unknown member "type" (known are event, data)',
    ],
    [{ Data: 1 }, 'HOLDLINE_BAD_ARGUMENT', 'did you mean data?'],
    [{ id: 5, data: 1 }, 'HOLDLINE_BAD_ARGUMENT', 'unknown member "id"'],
    [{}, 'HOLDLINE_BAD_ARGUMENT', 'with data'],
    [{ event: 'a' }, 'HOLDLINE_BAD_ARGUMENT', 'with data'],
    [{ event: 5, data: 1 }, 'HOLDLINE_BAD_ARGUMENT', 'event, which is a string (got 5)'],
    [{ event: null, data: 1 }, 'HOLDLINE_BAD_ARGUMENT', 'event, which is a string (got null)'],
    [{ event: '', data: 1 }, 'HOLDLINE_BAD_EVENT_TYPE', '1 to 64'],
    [{ event: half, data: 1 }, 'HOLDLINE_BAD_EVENT_TYPE', 'printable'],
    [{ data: undefined }, 'HOLDLINE_BAD_JSON', 'undefined'],
    [{ data: Promise.resolve(1) }, 'HOLDLINE_BAD_ARGUMENT', 'await it first'],
    [{ data: new Map([[1, 2]]) }, 'HOLDLINE_BAD_ARGUMENT', 'no Map or Set'],
    [{ data: new Set([1]) }, 'HOLDLINE_BAD_ARGUMENT', 'no Map or Set'],
    [{ data: new ArrayBuffer(2) }, 'HOLDLINE_BAD_ARGUMENT', 'bytes as a Uint8Array'],
    [{ data: new Uint16Array(2) }, 'HOLDLINE_BAD_ARGUMENT', 'bytes as a Uint8Array'],
    [{ data: Number.NaN }, 'HOLDLINE_BAD_ARGUMENT', 'a finite number'],
    [{ data: new Error('lost words') }, 'HOLDLINE_BAD_ARGUMENT', 'of this object it would have'],
    [{ data: /a/ }, 'HOLDLINE_BAD_ARGUMENT', 'of this object it would have nothing'],
    [{ data: new Headers() }, 'HOLDLINE_BAD_ARGUMENT', 'of this object it would have nothing'],
    [{ data: new Date(Number.NaN) }, 'HOLDLINE_BAD_ARGUMENT', 'of this object it would have'],
    [Object.create({ evnt: 'a', data: 1 }), 'HOLDLINE_BAD_ARGUMENT', 'did you mean event?'],
    [{ data: 5n }, 'HOLDLINE_BAD_JSON', 'BigInt'],
    [{ data: half }, 'HOLDLINE_NOT_UTF8', 'half of a surrogate pair'],
    [{ data: { a: [half] } }, 'HOLDLINE_NOT_UTF8', 'half of a surrogate pair'],
    [{ data: { [half]: 1 } }, 'HOLDLINE_NOT_UTF8', 'half of a surrogate pair'],
  ])('refuses %o, and publishes nothing', async (given, code, words) => {
    const server = made();
    const channel = server.channel('c');
    await expectError(() => channel.publish(given as never), code, words);
    await expectError(() => channel.publishAll([{ data: 1 }, given as never]), code, words);
    expect(server.stats().counters.events_accepted_total).toBe(0);
  });

  test('has nothing behind it but the index of a map', async () => {
    const server = made();
    const channel = server.channel('c') as unknown as Record<
      'publish' | 'publishAll',
      (...given: unknown[]) => Promise<unknown>
    >;
    const refusals: [() => Promise<unknown>, string][] = [
      [() => channel.publish({ data: 1 }, { event: 'tick' }), 'publish takes one object'],
      [() => channel.publish({ data: 1 }, 'tick'), 'publish takes one object'],
      [() => channel.publishAll([{ data: 1 }], 'tick'), 'publishAll takes an array of events'],
      [() => (server.listen as (port: number) => Promise<unknown>)(9103), 'listen takes nothing'],
    ];
    for (const [act, words] of refusals) await expectError(act, 'HOLDLINE_BAD_ARGUMENT', words);
    const ids = await Promise.all([{ data: 1 }, { data: 2 }].map(channel.publish));
    expect(ids).toHaveLength(2);
  });

  test('that fails in the program itself is told with its cause', async () => {
    const cause = new TypeError('a mistake of the program');
    const given = {
      get data() {
        throw cause;
      },
    };
    const publishing = made().channel('c').publish(given);
    await expect(publishing).rejects.toMatchObject({ code: 'HOLDLINE_INTERNAL', cause });
  });

  test.each([5, null, undefined, 'abc', { data: 1 }, new Set([{ data: 1 }])])(
    'of several refuses %o, and a hole',
    async (given) => {
      const channel = made().channel('c');
      await expectError(
        () => channel.publishAll(given as never),
        'HOLDLINE_BAD_ARGUMENT',
        'an array',
      );
      const withHole: unknown[] = Array.from([{ data: 1 }]);
      withHole[2] = { data: 1 };
      await expectError(
        () => channel.publishAll(withHole as never),
        'HOLDLINE_BAD_ARGUMENT',
        'undefined',
      );
    },
  );

  test('takes whole pairs, text that only looks like half of one, and members that are undefined', async () => {
    const channel = made({
      eventSchemas: { s: { type: 'object', properties: { a: { type: 'string' } } } },
    }).channel('c');
    for (const data of ['😀', '\\ud83d', { a: '\\ud83d 😀' }, ['\\ud83d\\ude00'], null, 0, false])
      expect(await channel.publish({ data })).toBeGreaterThan(0);
    expect(await channel.publish({ event: undefined, data: 1 } as never)).toBeGreaterThan(0);
    expect(await channel.publishAll([])).toEqual([]);
    await expectError(
      () => channel.publish({ event: 's', data: { a: half.repeat(30) } }),
      'HOLDLINE_NOT_UTF8',
      'half of a surrogate pair',
    );
  });
});

describe('history', () => {
  test.each<[unknown[], string]>([
    [[null], 'history takes one object {after?, limit?} (got null)'],
    [[5], '(got 5)'],
    [[[]], '(got [])'],
    [[{ since: 5 }], 'unknown member "since" (known are after, limit)'],
    [[{ Limit: 5 }], 'did you mean limit?'],
    [[{ limit: 0 }], 'limit, an integer from 1 to 1000 (got 0)'],
    [[{ limit: 1001 }], '(got 1001)'],
    [[{ limit: 1.5 }], '(got 1.5)'],
    [[{ limit: '5' }], "(got '5')"],
    [[{ limit: null }], '(got null)'],
    [[{ after: -1 }], 'after, an id, which is an integer from 0 to'],
    [[{ after: 2 ** 53 }], '(got 9007199254740992)'],
    [[{ after: '5' }], "(got '5')"],
    [[{ after: Number.NaN }], '(got NaN)'],
    [[{ after: 5n }], '(got 5n)'],
    [[{ after: 5 }, 10], 'and nothing else (got 10)'],
  ])('refuses %o', async (given, words) => {
    const channel = made().channel('c');
    const history = channel.history as (...given: unknown[]) => Promise<unknown>;
    await expectError(() => history(...given), 'HOLDLINE_BAD_ARGUMENT', words);
  });

  test('gives the newest, what follows a position, or nothing, and where to go on', async () => {
    const channel = made({ replayEvents: 5 }).channel('c');
    expect(await channel.history()).toEqual({ events: [], position: 0 });
    const data = ['one', { two: 2 }, 3, null, '5'];
    await channel.publishAll(data.map((one, i) => ({ ...(i === 1 && { event: 't' }), data: one })));
    const all = data.map((one, i) => ({
      id: i + 1,
      channel: 'c',
      ...(i === 1 && { event: 't' }),
      data: one,
    }));
    expect(await channel.history()).toEqual({ events: all, position: 5 });
    expect(await channel.history({ limit: 2 })).toEqual({ events: all.slice(3), position: 5 });
    expect(await channel.history({ after: 0, limit: 2 })).toEqual({
      events: all.slice(0, 2),
      position: 2,
    });
    expect(await channel.history({ after: 2, limit: undefined } as never)).toEqual({
      events: all.slice(2),
      position: 5,
    });
    expect(await channel.history({ after: 5 })).toEqual({ events: [], position: 5 });
  });

  test('says what is lost, once', async () => {
    const channel = made({ replayEvents: 2 }).channel('c');
    await channel.publishAll(Array.from({ length: 6 }, (_, i) => ({ data: i })));
    const { events, gap, position } = await channel.history({ after: 1 });
    expect([events.map(({ id }) => id), gap, position]).toEqual([
      [5, 6],
      { after: 1, before: 5 },
      6,
    ]);
    expect(await channel.history({ after: 99, limit: 1 })).toMatchObject({
      events: [{ id: 5 }],
      gap: { after: 99, before: 5 },
      position: 5,
    });
    const deletion = await channel.delete();
    const gone = await channel.history({ after: 3 });
    expect(gone).toEqual({ events: [], gap: { after: 3, before: null }, position: deletion });
    expect(await channel.history({ after: gone.position })).toEqual({
      events: [],
      position: deletion,
    });
  });

  test('is at most 1 MiB, and one event at least; the rest follows its position', async () => {
    const channel = made({ maxEventBytes: 2 ** 20, replayBytes: 2 ** 23 }).channel('c');
    const data = 'x'.repeat(300_000);
    for (let i = 0; i < 8; i++) await channel.publish({ data });
    const pages: number[][] = [];
    for (let after = 0; ;) {
      const { events, position } = await channel.history({ after });
      if (events.length === 0) break;
      pages.push(events.map(({ id }) => id));
      after = position;
    }
    expect(pages).toEqual([
      [1, 2, 3],
      [4, 5, 6],
      [7, 8],
    ]);
  });
});

describe('subscribe', () => {
  test.each<[unknown[], string]>([
    [[null], 'subscribe takes one object {after?, signal?} (got null)'],
    [[0], '(got 0)'],
    [['c'], "(got 'c')"],
    [[{ since: 5 }], 'unknown member "since"'],
    [[{ After: 5 }], 'did you mean after?'],
    [[{ after: -1 }], 'after, an id'],
    [[{ after: null }], '(got null)'],
    [[{ signal: null }], 'signal, which is an AbortSignal (got null)'],
    [[{ signal: new AbortController() }], 'signal, which is an AbortSignal'],
    [[{ signal: { aborted: false } }], '(got { aborted: false })'],
    [[{}, {}], 'and nothing else (got {})'],
  ])('refuses %o, and opens nothing', async (given, words) => {
    const server = made();
    const subscribe = server.channel('c').subscribe as (...given: unknown[]) => unknown;
    await expectError(() => subscribe(...given), 'HOLDLINE_BAD_ARGUMENT', words);
    expect(server.stats().counters.lines_opened_total).toBe(0);
  });

  test('counts as a line of the server and is refused like one', async () => {
    const server = made({ maxConnections: 2 });
    const channel = server.channel('c');
    const first = channel.subscribe();
    server.channel('d').subscribe({ after: 0 });
    expect(server.stats().lines).toMatchObject({ open: 2, byTransport: { library: 2, sse: 0 } });
    expect([channel.subscribers, server.channel('e').subscribers]).toEqual([1, 0]);
    await expectError(() => channel.subscribe(), 'HOLDLINE_LINES_FULL', 'all 2 lines are in use');
    await first.return();
    expect(channel.subscribers).toBe(0);
    const again = channel.subscribe();
    await server.close();
    expect(await again.next()).toEqual({ value: undefined, done: true });
    expect(again.end).toEqual({ code: 'draining', reconnect: true });
    expect(server.stats().lines.open).toBe(0);
    await expectError(() => channel.subscribe(), 'HOLDLINE_DRAINING', 'shutting down');
    await expectError(() => channel.history(), 'HOLDLINE_DRAINING', 'shutting down');
  });

  test('may be read by functions without `this`, and closed within its own loop', async () => {
    const channel = made().channel('c');
    const { next, return: close, [Symbol.asyncIterator]: itself } = channel.subscribe();
    await channel.publishAll([{ data: 1 }, { data: 2 }]);
    expect((await next()).value).toEqual({ id: 1, channel: 'c', data: 1 });
    for await (const { id } of itself()) {
      expect(id).toBe(2);
      await close();
    }
    expect(channel.subscribers).toBe(0);
  });
});

test('the ops key in use can be read, and is in no picture of the server', () => {
  const server = made({ opsKey: 'my-own-key' });
  expect(server.opsKey).toBe('my-own-key');
  expect(inspect(server, { depth: 9, getters: true }) + JSON.stringify(server)).not.toContain(
    'my-own-key',
  );
  expect(made().opsKey).toMatch(/^[\w-]{32}$/);
  expect(made().opsKey).not.toBe(made().opsKey);
  reloadServer(server, { ...resolveOptions(), opsKey: 'the-next-key' });
  expect(server.opsKey).toBe('the-next-key');
});

test('an ops key that another has replaced refuses from then on', async () => {
  const server = made({ opsKey: 'my-own-key' });
  const { port } = await server.listen();
  onTestFinished(() => server.close({ drainMs: 0 }));
  const statusWith = async (key: string): Promise<number> => {
    const headers = { authorization: `Bearer ${key}` };
    return (await fetch(`http://127.0.0.1:${port}/-/stats`, { headers })).status;
  };
  expect([await statusWith('my-own-key'), await statusWith('the-next-key')]).toEqual([200, 401]);
  reloadServer(server, { ...resolveOptions(), opsKey: 'the-next-key' });
  expect([await statusWith('my-own-key'), await statusWith('the-next-key')]).toEqual([401, 200]);
});

describe('whatever it is given, the library throws and rejects with HoldlineErrors only', () => {
  /** Makes what is given: fast-check looks into values, and some here do not bear it. */
  type Making = () => unknown;
  const throwing = (thrown: Making) => (): never => {
    throw thrown();
  };
  const revoked: Making = () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  };
  const withGetter = (name: PropertyKey, get: () => unknown): object =>
    Object.defineProperty({}, name, { enumerable: true, get });
  const thrown: Making[] = [
    () => null,
    () => 'text',
    () => Symbol('s'),
    () => Object.create(null) as unknown,
    () => new Error('own'),
    () => ({ [Symbol.toPrimitive]: throwing(() => 'again') }),
    () => Object.defineProperty(new Error('own'), 'message', { get: throwing(() => 'again') }),
    revoked,
  ];
  const members = ['data', 'event', 'after', 'limit', 'signal', 'drainMs', 'port', 'eventSchemas'];
  const hostile: Making[] = [
    revoked,
    ...thrown.flatMap((one): Making[] => {
      const fails = throwing(one);
      return [
        () => new Proxy({}, { get: fails, ownKeys: fails }),
        () => new Proxy([], { get: fails, getPrototypeOf: fails }),
        () => ({ [inspect.custom]: fails, [Symbol.iterator]: fails }),
        () => ({ data: { toJSON: fails } }),
        () => ({ data: withGetter('then', fails) }),
        ...members.map((name) => () => withGetter(name, fails)),
      ];
    }),
  ];
  const value: fc.Arbitrary<Making> = fc.oneof(
    fc.constantFrom(...hostile),
    fc.anything().map((one) => () => one),
  );
  const anything: fc.Arbitrary<Making> = fc.oneof(
    value,
    fc.tuple(fc.constantFrom(...members), value).map(([name, make]) => () => ({ [name]: make() })),
  );
  const NAMES = [
    'createServer',
    'channel',
    'publish',
    'publishAll',
    'history',
    'subscribe',
    'listen',
    'close',
  ] as const;

  test.each(NAMES)('%s', async (name) => {
    const server = made({ replayEvents: 10 });
    const functions = { createServer, ...server, ...server.channel('c') } as unknown as Record<
      string,
      (...given: unknown[]) => unknown
    >;
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 2 }), async (makings) => {
        const given = makings.map((make) => make());
        // With nothing it would listen.
        if (name === 'listen' && given[0] === undefined) return;
        try {
          const result = await functions[name]!(...given);
          if (name === 'createServer') servers.push(result as Server);
          if (name === 'subscribe') await (result as { return(): Promise<unknown> }).return();
        } catch (error) {
          if (!(error instanceof HoldlineError)) throw new Error('threw another', { cause: error });
        }
      }),
      { numRuns: 300 },
    );
    expect(server.stats().lines.open).toBe(0);
  });
});

describe('in whatever order', () => {
  test('publish, stats and close work before listen', async () => {
    const server = made();
    expect(await server.channel('c').publish({ data: 1 })).toBe(1);
    expect(server.stats().head).toBe(1);
    await server.close();
    expect(server.stats().draining).toBe(true);
  });

  test('a server listens once; a second call says so, also while the first is under way', async () => {
    const server = made();
    const first = server.listen();
    await expectError(() => server.listen(), 'HOLDLINE_LISTEN', 'is listening already');
    expect((await first).port).toBeGreaterThan(0);
    await expectError(() => server.listen(), 'HOLDLINE_LISTEN', 'is listening already');
  });

  test('after close nothing is published and nobody listens, and close may be called again', async () => {
    const server = made();
    await server.listen();
    const channel = server.channel('c');
    await Promise.all([server.close({ drainMs: 0 }), server.close()]);
    await server.close({ drainMs: 5 });
    await expectError(() => server.listen(), 'HOLDLINE_LISTEN', 'was closed');
    await expectError(() => channel.publish({ data: 1 }), 'HOLDLINE_DRAINING', 'shutting down');
    await expectError(() => channel.delete(), 'HOLDLINE_DRAINING', 'shutting down');
    await expectError(
      () => server.channel('d').publishAll([]),
      'HOLDLINE_DRAINING',
      'shutting down',
    );
  });

  test('close while it begins to listen leaves no port open', async () => {
    const { port } = await made().listen();
    await servers[0]!.close({ drainMs: 0 });
    const server = made({ port });
    const listening = server.listen();
    const closed = server.close({ drainMs: 0 });
    await expectError(() => listening, 'HOLDLINE_LISTEN', 'was closed meanwhile');
    await closed;
    expect((await made({ port }).listen()).port).toBe(port);
  });

  test.each<[unknown, string]>([
    [5, '{drainMs?}'],
    [null, '{drainMs?}'],
    [{ drainMS: 5 }, 'did you mean drainMs?'],
    [{ drainMs: '5' }, 'a number of milliseconds'],
    [{ drainMs: -1 }, 'a number of milliseconds'],
    [{ drainMs: Number.NaN }, 'a number of milliseconds'],
  ])('close refuses %o, and the server stays', async (given, words) => {
    const server = made();
    await expectError(() => server.close(given as never), 'HOLDLINE_BAD_ARGUMENT', words);
    expect(await server.channel('c').publish({ data: 1 })).toBe(1);
  });
});

describe('an address that cannot be had names its one cause', () => {
  test('a port that is taken, and another attempt finds it free', async () => {
    const holder = createNetServer();
    await new Promise<void>((resolve) => void holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    const server = made({ port });
    await expectError(
      () => server.listen(),
      'HOLDLINE_LISTEN',
      `127.0.0.1 port ${port}: the port is taken by another program`,
    );
    await expect(server.listen()).rejects.toMatchObject({ cause: { code: 'EADDRINUSE' } });
    await new Promise((resolve) => holder.close(resolve));
    expect((await server.listen()).port).toBe(port);
  });

  test('a port that another Holdline has', async () => {
    const { port } = await made().listen();
    await expectError(() => made({ port }).listen(), 'HOLDLINE_LISTEN', 'the port is taken');
  });

  test.each([
    ['192.0.2.1', 'the address is not one of this machine'],
    ['[::1]', 'written without brackets'],
    ['no-such-name.invalid', 'there is no address of that name'],
  ])('--host %s: %s', async (host, words) => {
    await expectError(() => made({ host }).listen(), 'HOLDLINE_LISTEN', words);
  });

  test('each code of the system has words of its own', () => {
    const codes = [
      'EADDRINUSE',
      'EACCES',
      'EADDRNOTAVAIL',
      'EAFNOSUPPORT',
      'ENOTFOUND',
      undefined,
      'EIO',
    ];
    const words = codes.map((code) => reasonOf(code, 'h', 80));
    expect(new Set(words).size).toBe(codes.length);
    expect(reasonOf('EACCES', '127.0.0.1', 80)).toContain('1024 or more (got 80)');
    expect(reasonOf('EIO', 'h', 80)).toContain('EIO');
    // The port may be that of --ops-listen.
    for (const one of words) expect(one).not.toContain('--');
  });
});
