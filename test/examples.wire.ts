/**
 * The programs of scripts/examples/, each run as it stands there, beside clients that share no code
 * with it: the `eventsource` package, fetch, and Chromium.
 */
import { readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { EventSource } from 'eventsource';
import type { Request } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../bench/ports.js';
import { programForTest, type Program } from './support/program.js';
import { FaultProxy } from './support/proxy.js';
import { hostedForTest } from './support/hosted.js';
import { launchChromium } from './support/sources.js';
import { DEADLINE_MS, Watched } from './support/wire.js';

const FOLDER = fileURLToPath(new URL('../scripts/examples/', import.meta.url));

/** A program of the folder that serves a page, running. */
interface Running {
  readonly program: Program;
  readonly port: number;
  readonly app: string;
}

async function run(name: string, env: Record<string, string> = {}): Promise<Running> {
  const [port, appPort] = [await freePort(), await freePort()];
  const program = programForTest(process.execPath, [FOLDER + name], {
    env: { ...env, PORT: String(port), APP_PORT: String(appPort) },
  });
  const app = `http://127.0.0.1:${appPort}`;
  expect((await program.printed(/^open (\S+)$/m))[1]).toBe(app);
  return { program, port, app };
}

/** What a client that shares no code with the programs has read of a stream. */
class Witness extends Watched {
  readonly events: { type: string; data: string; id: string }[] = [];
  readonly source: EventSource;
  errors = 0;

  constructor(url: string, types: readonly string[], headers: Record<string, string> = {}) {
    super();
    this.source = new EventSource(url, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
    });
    for (const type of types)
      this.source.addEventListener(type, ({ data, lastEventId }) => {
        this.events.push({ type, data: String(data), id: lastEventId });
        this.changed();
      });
    this.source.addEventListener('open', () => this.changed());
    this.source.addEventListener('error', () => {
      this.errors++;
      this.changed();
    });
    onTestFinished(() => this.source.close());
  }

  describe(): string {
    return `readyState ${this.source.readyState}, ${JSON.stringify(this.events).slice(0, 2000)}`;
  }

  has(count: number): Promise<unknown> {
    return this.waitFor(`${count} events`, () => this.events.length >= count);
  }
}

/** A proxy that passes the first request on and cuts the connection when the answer comes. */
async function loseFirstAnswer(
  port: number,
): Promise<{ readonly url: string; readonly connections: () => number }> {
  let connections = 0;
  const proxy = createServer((client) => {
    const loses = ++connections === 1;
    const server = connect(port, '127.0.0.1');
    client.pipe(server);
    server.on('data', (bytes) => (loses ? client.destroy() : client.write(bytes)));
    for (const socket of [client, server])
      socket.on('error', () => {}).on('close', () => (client.destroy(), server.destroy()));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void proxy.close());
  const { port: own } = proxy.address() as AddressInfo;
  return { url: `http://127.0.0.1:${own}`, connections: () => connections };
}

test('each program of the folder is run here', () => {
  expect(readdirSync(FOLDER).toSorted()).toEqual([
    'README.md',
    'dashboard.js',
    'notifications.js',
    'publish.py',
    'publish.sh',
    'token-stream.js',
  ]);
});

describe('token-stream.js', () => {
  const TYPES = ['token', 'done', 'gap', 'end'];
  const TEXT = 'You asked "why?". An answer takes a while, so it is shown as it is made.';

  async function ask(app: string): Promise<string> {
    const response = await fetch(`${app}/ask`, { method: 'POST', body: 'why?' });
    return ((await response.json()) as { stream: string }).stream;
  }

  test('a reader that is cut off resumes: every token once, in order, and the end', async () => {
    const { app, port } = await run('token-stream.js');
    const proxy = await FaultProxy.start(port);
    const stream = new URL(await ask(app));
    const cut = new Witness(`${proxy.url}${stream.pathname}?last_event_id=0`, TYPES);
    const whole = new Witness(`${stream.href}?last_event_id=0`, TYPES);
    await cut.has(3);
    proxy.refusing = true;
    proxy.newest.cut();
    await whole.waitFor('the end', () => whole.events.at(-1)?.type === 'done');
    expect(cut.events.at(-1)?.type).toBe('token');
    proxy.refusing = false;
    await cut.waitFor('the end', () => cut.events.at(-1)?.type === 'done', 15_000);
    expect(cut.events).toEqual(whole.events);
    const tokens = cut.events.filter(({ type }) => type === 'token');
    expect(tokens.map(({ data }) => data).join('')).toBe(TEXT);
    expect(cut.events.at(-1)?.data).toBe(JSON.stringify({ tokens: tokens.length }));
  });

  test('when an answer is no longer kept its stream ends for good: 204', async () => {
    const { app } = await run('token-stream.js', { KEEP_MS: '100' });
    const stream = await ask(app);
    const witness = new Witness(`${stream}?last_event_id=0`, TYPES);
    await witness.waitFor('the end of the line', () => witness.events.at(-1)?.type === 'end');
    expect(JSON.parse(witness.events.at(-1)!.data)).toMatchObject({ reconnect: false });
    const again = await fetch(stream, { headers: { Accept: 'text/event-stream' } });
    expect(again.status).toBe(204);
  });

  test('its page shows the whole answer and closes its stream', async () => {
    const { app, port } = await run('token-stream.js');
    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    const isStream = (request: Request): boolean => new URL(request.url()).port === String(port);
    const [asked, closed]: [Request[], Request[]] = [[], []];
    page.on('request', (request) => void (isStream(request) && asked.push(request)));
    page.on('requestfailed', (request) => void (isStream(request) && closed.push(request)));
    await page.goto(app);
    await page.locator('input').fill('why?');
    await page.locator('button').click();
    await expect
      .poll(() => page.locator('#answer').textContent(), { timeout: DEADLINE_MS })
      .toBe(TEXT);
    // The page has closed it; where a stream is only over, the browser asks again.
    await expect.poll(() => closed, { timeout: DEADLINE_MS }).toHaveLength(1);
    expect(asked).toHaveLength(1);
  });
});

describe('notifications.js', () => {
  async function login(app: string, user: string): Promise<string> {
    const answer = await fetch(`${app}/login?user=${user}`, { redirect: 'manual' });
    return answer.headers.get('Set-Cookie')!.split(';')[0]!;
  }

  test('a user gets their own notifications, and nobody else does', async () => {
    const { app, port } = await run('notifications.js');
    const [ada, bob] = [await login(app, 'ada'), await login(app, 'bob')];
    const stream = `http://127.0.0.1:${port}/user-ada`;
    const statusFor = async (cookie: string, channels = 'user-ada'): Promise<number> => {
      const abort = new AbortController();
      const answer = await fetch(`http://127.0.0.1:${port}/${channels}`, {
        headers: { Cookie: cookie, Accept: 'text/event-stream' },
        signal: abort.signal,
      });
      abort.abort();
      return answer.status;
    };
    expect(await statusFor(bob)).toBe(403);
    expect(await statusFor('session=guessed')).toBe(403);
    expect(await statusFor(bob, 'user-bob,user-ada')).toBe(403);
    const witness = new Witness(stream, ['notice'], { Cookie: ada });
    await witness.waitFor('open', () => witness.source.readyState === 1 || witness.errors > 0);
    const answer = await fetch(`${app}/notify?user=ada`, { method: 'POST', body: 'Hello, Ada' });
    const id = await answer.text();
    await witness.has(1);
    expect(witness.events).toEqual([{ type: 'notice', data: 'Hello, Ada', id }]);
    // Nobody may publish over the network, with a cookie or without.
    const forged = await fetch(stream, { method: 'POST', body: 'x', headers: { Cookie: ada } });
    expect([401, 403]).toContain(forged.status);
  });

  test('its page sends the cookie to the other port, and shows the notification', async () => {
    const { app } = await run('notifications.js');
    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.goto(app);
    await page.locator('a', { hasText: 'Ada' }).click();
    await expect
      .poll(() => page.locator('#user').textContent(), { timeout: DEADLINE_MS })
      .toBe('ada');
    await page.locator('button').click();
    await expect
      .poll(() => page.locator('li').allTextContents(), { timeout: DEADLINE_MS })
      .toEqual(['Hello, Ada']);
  });
});

describe('dashboard.js', () => {
  test('a page has its picture at once, and each change with the next event', async () => {
    const { app, port } = await run('dashboard.js');
    const count = async (): Promise<string> =>
      (await fetch(`${app}/count?name=orders`, { method: 'POST' })).text();
    expect(await count()).toBe('1');
    const live = new Witness(`http://127.0.0.1:${port}/counters?last=1`, ['counters']);
    const ordersOf = (witness: Witness): number =>
      (JSON.parse(witness.events.at(-1)!.data) as { orders: number }).orders;
    await live.waitFor('one order', () => live.events.length > 0 && ordersOf(live) === 1);
    expect(await count()).toBe('2');
    await live.waitFor('two orders', () => ordersOf(live) === 2);
    // Nothing is published now: what a newcomer sees is the picture that is held.
    const late = new Witness(`http://127.0.0.1:${port}/counters?last=1`, ['counters']);
    await late.has(1);
    expect(late.events).toEqual([live.events.at(-1)]);

    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.goto(app);
    const orders = page.locator('#orders');
    await expect.poll(() => orders.textContent(), { timeout: DEADLINE_MS }).toBe('2');
    await page.locator('button').click();
    await expect.poll(() => orders.textContent(), { timeout: DEADLINE_MS }).toBe('3');
  });
});

describe('publish.py and publish.sh', () => {
  const KEY = { HOLDLINE_PUBLISH_KEY: 'secret' };
  const withKey = { 'open-publish': false, 'publish-key': 'secret' };

  /** Publishes by one of the two; both are given a type and a text. */
  const PUBLISHERS: readonly [
    string,
    (url: string, text: string, env?: Record<string, string>) => Program,
  ][] = [
    [
      'publish.py',
      (url, text, env = KEY) =>
        programForTest('python3', [`${FOLDER}publish.py`, url, 'note', text], { env }),
    ],
    [
      'publish.sh',
      (url, text, env = KEY) =>
        programForTest(`${FOLDER}publish.sh`, [url, 'note'], { env, input: text }),
    ],
  ];

  describe.each(PUBLISHERS)('%s', (_name, publish) => {
    test('publishes a text as it is, and prints its id', async () => {
      const server = await hostedForTest(withKey);
      const witness = new Witness(`${server.url}/c`, ['note']);
      await witness.waitFor('open', () => witness.source.readyState === 1);
      const text = 'Größe: 5 € & "so" = 100 %';
      const program = publish(`${server.url}/c`, text);
      expect(await program.ended(), `its exit code: ${program.describe()}`).toBe(0);
      await witness.has(1);
      expect(witness.events).toEqual([{ type: 'note', data: text, id: '1' }]);
      expect(program.stdout).toMatch(/^(?:1|\{"id":1,"subscribers":1\})\n$/);
    });

    test('publishes once when the answer was lost', async () => {
      const server = await hostedForTest(withKey);
      const { url, connections } = await loseFirstAnswer(server.port);
      const program = publish(`${url}/c`, 'once');
      expect(await program.ended(15_000), `its exit code: ${program.describe()}`).toBe(0);
      expect(connections()).toBe(2);
      const { counters } = await server.stats();
      expect(counters.events_accepted_total).toBe(1);
    });

    test('says what is wrong, and fails', async () => {
      const server = await hostedForTest(withKey);
      const program = publish(`${server.url}/c`, 'x', { HOLDLINE_PUBLISH_KEY: 'wrong' });
      expect(await program.ended()).not.toBe(0);
      expect(program.stdout + program.stderr).toMatch(/HOLDLINE_UNAUTHORIZED/);
    });
  });

  test('publish.py publishes JSON as JSON', async () => {
    const server = await hostedForTest(withKey);
    const [, publish] = PUBLISHERS[0]!;
    const program = publish(`${server.url}/c`, '{"order": 17}');
    expect(await program.ended(), `its exit code: ${program.describe()}`).toBe(0);
    const answer = await fetch(`${server.url}/c?since=0&wait=0`);
    expect(await answer.json()).toMatchObject({ event: 'note', data: { order: 17 } });
  });

  test('publish.sh publishes each line, the last one without a line break too', async () => {
    const server = await hostedForTest(withKey);
    const program = programForTest(`${FOLDER}publish.sh`, [`${server.url}/c`, 'line'], {
      env: KEY,
      input: 'one\n  two  \nthree',
    });
    expect(await program.ended(), `its exit code: ${program.describe()}`).toBe(0);
    const answer = await fetch(`${server.url}/c?since=0&wait=0&limit=10`);
    const events = (await answer.json()) as { data: string }[];
    expect(events.map(({ data }) => data)).toEqual(['one', '  two  ', 'three']);
  });
});
