/**
 * What a program may give to the library, and in which order it may call: everything else is a
 * HoldlineError that says what is wrong, and nothing is left out without a word.
 */
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createServer, HoldlineError, type Server } from '../dist/index.js';
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
    [['a/b'], 'HOLDLINE_BAD_CHANNEL', 'a character that is not allowed'],
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
  });
});
