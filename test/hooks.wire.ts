/**
 * Hooks of an embedding program: whatever they throw, reject with or answer refuses the request, is
 * reported, and ends neither line nor process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SignJWT } from 'jose';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { createServer, HoldlineError, type Server } from '../dist/index.js';
import { NdjsonLine, SseLine } from './support/line.js';
import { handshakeBytes } from './support/websocket.js';
import { until } from './support/until.js';
import { codeOf, RawConnection, request, requestBytes, Watched } from './support/wire.js';

type Given = NonNullable<Parameters<typeof createServer>[0]>;

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';

const servers: Server[] = [];

function fail(): never {
  throw new Error('mine');
}

async function listening(
  options: Given,
): Promise<{ server: Server; port: number; faults: unknown[] }> {
  const faults: unknown[] = [];
  const server = createServer({
    port: 0,
    firstId: 1,
    openPublish: true,
    onError: (error) => faults.push(error),
    ...options,
  });
  servers.push(server);
  const { port } = await server.listen();
  return { server, port, faults };
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

/** An `authorize` that answers what its type does not allow. */
const answering = (answered: () => unknown): NonNullable<Given['authorize']> =>
  answered as NonNullable<Given['authorize']>;

describe('authorize', () => {
  test.each([
    ['undefined', () => undefined],
    ['null', () => null],
    ['0', () => 0],
    ['1', () => 1],
    ['a word', () => 'admin'],
    ['an object', () => ({ role: 'admin' })],
    ['a promise of undefined', () => Promise.resolve(undefined)],
    ['a promise of a word', () => Promise.resolve('admin')],
  ])('that answers %s refuses with 403, and is reported', async (_what, answered) => {
    const { server, port, faults } = await listening({ authorize: answering(answered) });
    for (const [method, parts] of [
      ['GET', {}],
      ['HEAD', {}],
      ['POST', { body: 'x' }],
    ] as const) {
      const before = faults.length;
      const answer = await request(port, method, '/c', parts);
      expect([method, answer.status]).toEqual([method, 403]);
      if (method !== 'HEAD') expect(codeOf(answer)).toBe('HOLDLINE_FORBIDDEN');
      expect(faults.slice(before)).toEqual([
        expect.objectContaining({ message: expect.stringContaining('authorize') as string }),
      ]);
    }
    expect(server.stats().counters.events_accepted_total).toBe(0);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('a mistake in the hook');
      },
    ],
    ['rejects', () => Promise.reject(new Error('a mistake in the hook'))],
  ])(
    'that %s refuses with 500 and tells the client nothing of it; it is reported',
    async (_what, answered) => {
      const { server, port, faults } = await listening({ authorize: answering(answered) });
      for (const [method, parts] of [
        ['GET', {}],
        ['POST', { body: 'x' }],
      ] as const) {
        const answer = await request(port, method, '/c', parts);
        expect([answer.status, codeOf(answer)]).toEqual([500, 'HOLDLINE_INTERNAL']);
        expect(answer.text).not.toContain('mistake');
      }
      expect(faults).toEqual([
        new Error('a mistake in the hook'),
        new Error('a mistake in the hook'),
      ]);
      expect(server.stats().counters.events_accepted_total).toBe(0);
    },
  );

  test.each([
    [
      'throws',
      (mine: Error): NonNullable<Given['authorize']> =>
        () => {
          throw mine;
        },
    ],
    [
      'rejects with',
      (mine: Error): NonNullable<Given['authorize']> =>
        async () => {
          throw mine;
        },
    ],
  ] as const)(
    'that %s an error of this library is a fault like any other, and its code no refusal',
    async (_how, failingWith) => {
      for (const code of ['HOLDLINE_PUBLISH_BUSY', 'HOLDLINE_BAD_ARGUMENT'] as const) {
        const error = new HoldlineError(code, 'mine');
        const { port, faults } = await listening({ authorize: failingWith(error) });
        for (const asked of [
          request(port, 'GET', '/c?wait=0'),
          request(port, 'GET', '/c', { headers: { Accept: 'text/event-stream' } }),
          request(port, 'POST', '/c', { body: 'x' }),
        ]) {
          const answer = await asked;
          expect([answer.status, codeOf(answer)]).toEqual([500, 'HOLDLINE_INTERNAL']);
          expect(answer.text).not.toContain('mine');
        }
        expect(faults).toEqual([error, error, error]);
      }
    },
  );

  test('that answers false is a refusal and no fault', async () => {
    const { port, faults } = await listening({ authorize: () => false });
    expect((await request(port, 'GET', '/c')).status).toBe(403);
    expect(faults).toEqual([]);
  });

  test('that rejects when there is no room either refuses once, and nothing is left unheard', async () => {
    const { port, faults } = await listening({
      authorize: () => Promise.reject(new Error('late')),
    });
    const body = 'x'.repeat(200_000);
    expect((await request(port, 'POST', '/c', { body })).status).toBeOneOf([413, 500]);
    await expect.poll(() => faults.length).toBeLessThanOrEqual(1);
    expect((await request(port, 'GET', '/-/health')).status).toBe(200);
  });

  test('sees all fields of a name, joined as RFC 9110 says, and fields of any name', async () => {
    const seen: unknown[] = [];
    const { port } = await listening({
      authorize: ({ headers }) => {
        seen.push([headers['x-who'], headers['__proto__']]);
        return false;
      },
    });
    await request(port, 'GET', '/c', {
      headers: { 'X-Who': 'first\r\nX-Who: second', __proto__x: '1', ['__proto__']: 'p' },
    });
    expect(seen).toEqual([['first, second', 'p']]);
  });

  test('refuses a publish before its body is read as events', async () => {
    const { port } = await listening({ authorize: () => false });
    const headers = { 'Content-Type': 'application/json' };
    const refusal = await request(port, 'POST', '/c', { headers, body: '{' });
    expect(codeOf(refusal)).toBe('HOLDLINE_FORBIDDEN');
    expect(refusal.body.toString()).toContain('this client is not allowed to publish to c"');
  });
});

describe('a hook that closes the server in the turn of a request', () => {
  test.each([
    ['authorize', (close) => ({ authorize: () => close() ?? true }), 503],
    ['onError', (close) => ({ authorize: () => fail(), onError: close }), 500],
    ['onWarning', (close) => ({ openPublish: false, publishKey: 'k', onWarning: close }), 401],
  ] as [string, (close: () => undefined) => Given, number][])(
    '%s: the request is answered before',
    async (_name, hooksOf, status) => {
      let closed: Promise<void> | undefined;
      const { server, port } = await listening(
        hooksOf(() => void (closed ??= server.close({ drainMs: 0 }))),
      );
      const headers = { Authorization: 'Bearer wrong' };
      const [method, path] = status === 401 ? ['POST', '/c'] : ['GET', '/c?wait=0'];
      expect((await request(port, method, path, { headers })).status).toBe(status);
      await closed;
      await expect(RawConnection.open(port)).rejects.toThrow('ECONNREFUSED');
    },
  );
});

test('a batch whose client left is not kept for an authorize that never answers; what it throws then is told', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const asked: ((error: Error) => void)[] = [];
  const { server, port, faults } = await listening({
    authorize: () => new Promise((_resolve, reject) => asked.push(reject)),
  });
  const line = JSON.stringify({ channel: 'c', data: 'x'.repeat(60_000) });
  const body = Array.from({ length: 60 }, () => line).join('\n');
  const headers = { 'Content-Type': 'application/x-ndjson' };
  const bytes = requestBytes(port, 'POST', '/-/publish', { headers, body });
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 1; i <= 10; i++) {
    const connection = await RawConnection.open(port);
    connection.send(bytes);
    await until('it is asked', () => asked.length === i);
    connection.destroy();
  }
  await until('all have left', () => {
    const { counters } = server.stats();
    return counters.sockets_opened_total === counters.sockets_closed_total;
  });
  await expect
    .poll(() => {
      collect();
      return process.memoryUsage().arrayBuffers - before;
    })
    .toBeLessThan(2 * body.length);
  const mine = new Error('database');
  asked.pop()!(mine);
  await until('the fault is told', () => faults.length > 0);
  expect(faults).toEqual([mine]);
});

describe('what is refused after an authorize that takes its time is refused as at once', () => {
  const later = <Answer>(answer: Answer): Promise<Answer> =>
    new Promise((resolve) => setImmediate(() => resolve(answer)));

  test('wrong keys in the handshakes of WebSockets are counted, and past a few are 429', async () => {
    const { server, port } = await listening({
      openPublish: false,
      publishKey: 'k',
      authorize: () => later(true),
    });
    const statuses: string[] = [];
    for (let i = 0; i < 13; i++) {
      const connection = await RawConnection.open(port);
      onTestFinished(() => connection.destroy());
      connection.send(handshakeBytes(port, '/c', { Authorization: `Bearer wrong${i}` }));
      await connection.waitFor('an answer', () => connection.text.includes('\r\n\r\n'));
      statuses.push(connection.text.slice('HTTP/1.1 '.length).slice(0, 3));
    }
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => '101'), '429', '429', '429']);
    expect(server.stats().counters.failed_keys_total).toBe(13);
  });

  test('a person is shown a page', async () => {
    const { port } = await listening({
      maxLinesPerUser: 1,
      authorize: () => later({ allow: true, user: 'ada' }),
    });
    const line = await SseLine.open(port, '/c');
    onTestFinished(() => line.close());
    const answer = await request(port, 'GET', '/c', { headers: { Accept: 'text/html' } });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      429,
      'text/html; charset=utf-8',
    ]);
  });

  test('a user who is revoked while it decides deletes and publishes nothing', async () => {
    let decide = (_allowed: boolean): void => {};
    const { server, port } = await listening({
      openPublish: false,
      jwtSecret: SECRET,
      authorize: () => new Promise((resolve) => (decide = resolve)),
    });
    await server.channel('c').publish({ data: 'kept' });
    const iat = Math.floor(Date.now() / 1000) - 10;
    const rights = { delete: ['**'], publish: ['**'] };
    const token = await new SignJWT({ sub: 'ada', iat, exp: iat + 600, holdline: rights })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(SECRET));
    const ops = { Authorization: `Bearer ${server.opsKey}` };
    const headers = { Authorization: `Bearer ${token}` };
    const ndjson = { ...headers, 'Content-Type': 'application/x-ndjson' };
    const line = '{"channel":"c","data":"late"}';
    const asked = [];
    const deciders: ((allowed: boolean) => void)[] = [];
    for (const [method, path, parts] of [
      ['DELETE', '/c', { headers }],
      ['POST', '/c', { headers, body: 'late' }],
      ['POST', '/-/publish', { headers: ndjson, body: line }],
    ] as const) {
      const before = decide;
      asked.push(request(port, method, path, parts));
      await expect.poll(() => decide).not.toBe(before);
      deciders.push(decide);
    }
    const revoked = await request(port, 'DELETE', '/-/connections?user=ada', { headers: ops });
    expect(revoked.status).toBe(200);
    for (const allow of deciders) allow(true);
    expect((await Promise.all(asked)).map(codeOf)).toEqual(
      Array.from({ length: 3 }, () => 'HOLDLINE_REVOKED'),
    );
    const { events } = await server.channel('c').history();
    expect(events.map(({ data }) => data)).toEqual(['kept']);
  });
});

describe('authorize that answers with an object', () => {
  const me: Given['authorize'] = async ({ headers }) => ({
    allow: headers['x-user'] !== undefined,
    user: headers['x-user'] ?? 'nobody',
    channels: { me: `user-${headers['x-user']}` },
  });
  const JSON_ONLY = { Accept: 'application/json' };
  const ADA = { 'X-User': 'ada' };

  test('gives whoever asks for /me a channel of their own, over every transport', async () => {
    const { server, port } = await listening({ authorize: me });
    await server.channel('user-ada').publish({ data: 'for ada' });
    await server.channel('user-bob').publish({ data: 'for bob' });
    await server.channel('me').publish({ data: 'for nobody' });
    const headers = { ...ADA, ...JSON_ONLY };
    const polled = await request(port, 'GET', '/me?since=0&wait=0', { headers });
    expect(polled.text).toBe('{"id":1,"channel":"user-ada","data":"for ada"}');
    const sse = await SseLine.open(port, '/me?since=0', { headers: ADA });
    const ndjson = await NdjsonLine.open(port, '/me?since=0', { headers: ADA });
    onTestFinished(() => [sse, ndjson].forEach((line) => line.close()));
    await Promise.all([sse.waitForId(1), ndjson.waitForId(1)]);
    expect(sse.text + ndjson.text).not.toMatch(/bob|nobody/);
    expect((await request(port, 'GET', '/me', {})).status).toBe(403);
  });

  test('says whose a line is, and when it ends', async () => {
    const opened: unknown[] = [];
    const { port } = await listening({
      authorize: () => ({ allow: true, user: 'ada', expiresAt: new Date(Date.now() + 1500) }),
      onOpen: ({ user }) => void opened.push(user),
    });
    const line = await SseLine.open(port, '/c');
    onTestFinished(() => line.close());
    await line.waitFor('the end', () => line.endCode);
    expect([opened, line.endCode]).toEqual([['ada'], 'expired']);
  });

  test('says whose an Idempotency-Key is: two users with the same one publish two events', async () => {
    const { server, port } = await listening({
      authorize: ({ headers }) => ({ allow: true, user: headers['x-user'] ?? 'nobody' }),
    });
    const published = async (user: string, path: string, body: string): Promise<string> => {
      const headers = {
        'X-User': user,
        'Idempotency-Key': '1',
        'Content-Type': 'application/x-ndjson',
      };
      return (await request(port, 'POST', path, { headers, body })).text;
    };
    for (const [path, body] of [
      ['/c', '{"data":"x"}'],
      ['/-/publish', '{"channel":"c","data":"x"}'],
    ] as const) {
      const first = await published('ada', path, body);
      const second = await published('bob', path, body);
      expect(second).not.toBe(first);
      expect(await published('ada', path, body)).toBe(first);
      expect(await published('bob', path, body)).toBe(second);
    }
    expect(server.stats().counters.events_accepted_total).toBe(4);
  });

  test('maps no channel of a publish: that is 403, and a fault', async () => {
    const { server, port, faults } = await listening({
      authorize: () => ({ allow: true, channels: { me: 'user-ada' } }),
    });
    expect((await request(port, 'POST', '/me', { body: 'x' })).status).toBe(403);
    expect(faults).toEqual([expect.any(TypeError)]);
    expect(server.stats().counters.events_accepted_total).toBe(0);
  });
});

describe('hooks that are no functions are HOLDLINE_BAD_OPTION', () => {
  test.each([
    ['authorize', true],
    ['onOpen', 5],
    ['onClose', {}],
    ['onError', 'console'],
    ['authorize', null],
  ])('%s: %s', (name, hook) => {
    expect(() => createServer({ [name]: hook })).toThrow(
      expect.objectContaining({
        code: 'HOLDLINE_BAD_OPTION',
        message: expect.stringContaining(name) as string,
      }),
    );
  });
});

/**
 * A program of a few lines that embeds the library, in a process of its own; it prints its port
 * first.
 */
class Program extends Watched {
  readonly child: ChildProcess;
  errors = '';
  port = 0;

  private constructor(child: ChildProcess) {
    super();
    this.child = child;
    child.stdout!.on('data', (text: Buffer) => {
      this.port = Number(text.toString());
      this.changed();
    });
    child.stderr!.on('data', (text: Buffer) => {
      this.errors += text.toString();
      this.changed();
    });
    child.on('exit', () => this.changed());
  }

  /** `hooks` is the text of an object. */
  static async start(hooks: string): Promise<Program> {
    const source = `import { createServer } from './dist/index.js';
      const server = createServer({ port: 0, openPublish: true, ...${hooks} });
      console.log((await server.listen()).port);`;
    const cwd = fileURLToPath(new URL('..', import.meta.url));
    const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const program = new Program(child);
    onTestFinished(() => void child.kill('SIGKILL'));
    await program.waitFor('its port', () => program.port > 0);
    return program;
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  describe(): string {
    return `exit ${this.child.exitCode}, stderr ${this.errors}`;
  }
}

describe('a program with the default onError', () => {
  test.each([
    ['authorize answers undefined', '{ authorize: () => undefined }'],
    ['authorize throws', '{ authorize() { throw new Error("mine"); } }'],
    ['authorize rejects', '{ authorize: async () => { throw new Error("mine"); } }'],
    [
      'authorize throws what cannot be shown',
      '{ authorize() { throw { [Symbol.for("nodejs.util.inspect.custom")]() { throw 1; } }; } }',
    ],
    [
      'onOpen rejects with what cannot be shown',
      '{ async onOpen() { throw Object.defineProperty(new Error(), "stack", { get() { throw 1; } }); } }',
    ],
    ['onOpen throws', '{ onOpen() { throw new Error("mine"); } }'],
    ['onOpen rejects', '{ onOpen: async () => { throw new Error("mine"); } }'],
    ['onClose throws', '{ onClose() { throw new Error("mine"); } }'],
    [
      'onError throws itself',
      '{ onOpen() { throw new Error("mine"); }, onError() { throw new Error("worse"); } }',
    ],
    [
      'onError rejects',
      '{ onOpen() { throw new Error("mine"); }, onError: async () => { throw new Error("worse"); } }',
    ],
  ])('lives on when %s, and says so on stderr', async (_what, hooks) => {
    const program = await Program.start(hooks);
    // Head and prelude of a stream, or a refusal; then the client leaves.
    const abort = new AbortController();
    const answer = await fetch(`http://127.0.0.1:${program.port}/c`, { signal: abort.signal });
    expect(answer.status).toBeOneOf([200, 403, 500]);
    abort.abort();
    await program.waitFor('a word on stderr', () => /holdline: fault/.test(program.errors));
    expect((await request(program.port, 'GET', '/-/health')).status).toBe(200);
    expect(program.isAlive).toBe(true);
  });

  test('lives on when nobody takes its stderr', async () => {
    const program = await Program.start('{ authorize() { throw new Error("mine"); } }');
    program.child.stderr!.destroy();
    for (let i = 0; i < 3; i++) expect((await request(program.port, 'GET', '/c')).status).toBe(500);
    expect(program.isAlive).toBe(true);
  });

  test('logs one fault a second at most, and counts the others', async () => {
    const program = await Program.start('{ authorize() { throw new Error("mine"); } }');
    const began = performance.now();
    for (let i = 0; i < 200; i++)
      expect((await request(program.port, 'GET', '/c')).status).toBe(500);
    const faults = (): number => program.errors.split('holdline: fault').length - 1;
    expect(faults()).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - began) / 1000));
    while (!/and \d+ more before it/.test(program.errors)) await request(program.port, 'GET', '/c');
    expect(program.isAlive).toBe(true);
  });
});
