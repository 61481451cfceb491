/** The library: the README's example as it is, and what hooks and schemas promise. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { createServer, HoldlineError, type Server } from '../dist/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));

const servers: Server[] = [];

async function listening(
  options: Parameters<typeof createServer>[0],
): Promise<{ server: Server; url: string }> {
  const server = createServer({ port: 0, firstId: 1, ...options });
  servers.push(server);
  const { port } = await server.listen();
  return { server, url: `http://127.0.0.1:${port}` };
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ drainMs: 0 })));
});

/** Reads a stream until its text satisfies `enough`; fails with the text after 5 s. */
async function readUntil(
  url: string,
  enough: (text: string) => boolean,
  headers: Record<string, string> = {},
): Promise<string> {
  const abort = new AbortController();
  const deadline = setTimeout(() => abort.abort(), 5000);
  let text = '';
  try {
    const answer = await fetch(url, {
      // What every EventSource sends.
      headers: { accept: 'text/event-stream', 'cache-control': 'no-cache', ...headers },
      signal: abort.signal,
    });
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      if (enough(text)) return text;
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    clearTimeout(deadline);
    abort.abort();
  }
  throw new Error(`the stream ended or 5 s passed with only ${JSON.stringify(text)}`);
}

test('the example of the README is at most 15 lines, runs as it stands, serves its events and ends on SIGTERM', async () => {
  const source = /```js\n(import \{ createServer[\s\S]*?)```/.exec(
    readFileSync(`${root}README.md`, 'utf8'),
  )?.[1];
  expect(source).toBeDefined();
  expect((source as string).trim().split('\n').length).toBeLessThanOrEqual(15);
  mkdirSync(`${root}test/out`, { recursive: true });
  writeFileSync(`${root}test/out/example.mjs`, source as string);
  const child = spawn(process.execPath, ['test/out/example.mjs'], {
    cwd: root,
    env: { ...process.env, PORT: '0' },
  });
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const url = /http:\S+/.exec(line.toString())?.[0] as string;
    const text = await readUntil(url, (sofar) => sofar.includes('event: tick'));
    expect(text).toMatch(/^retry: \d+\nid: \d+\n\n/);
    expect(text).toMatch(/id: \d+\nevent: tick\ndata: \{"now":\d+\}\n\n/);
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number | null];
    expect(code).toBe(0);
  } finally {
    child.kill('SIGKILL');
  }
});

test('publish resolves to the id, publishAll to all of them, and subscribers get strings as text and objects as JSON', async () => {
  const { server, url } = await listening({});
  const reading = readUntil(`${url}/c`, (text) => text.includes('id: 4\n'));
  await expect.poll(() => server.stats().lines.open).toBe(1);
  expect(await server.channel('c').publish({ data: 'a\nb' })).toBe(1);
  expect(
    await server
      .channel('c')
      .publishAll([{ event: 'x', data: { n: 1 } }, { data: new Uint8Array([0xc3, 0xa4]) }]),
  ).toEqual([2, 3]);
  await server.channel('c').publish({ data: null });
  expect(await reading).toBe(
    'retry: 3000\nid: 0\n\nid: 1\ndata: a\ndata: b\n\nid: 2\nevent: x\ndata: {"n":1}\n\nid: 3\ndata: ä\n\nid: 4\ndata: null\n\n',
  );
});

test('an event type with a schema is written by it: undeclared members are left out, a missing required one is refused', async () => {
  const schema = { type: 'object', properties: { price: { type: 'number' } }, required: ['price'] };
  const { server, url } = await listening({ eventSchemas: { tick: schema } });
  await server.channel('c').publish({ event: 'tick', data: { price: 1.5, secret: 'x' } });
  await expect(server.channel('c').publish({ event: 'tick', data: {} })).rejects.toMatchObject({
    code: 'HOLDLINE_BAD_JSON',
  });
  expect(await readUntil(`${url}/c?last=1`, (text) => text.includes('data'))).toContain(
    'data: {"price":1.5}\n\n',
  );
});

test('what the library is given wrongly is a HoldlineError with a code, and nothing is published', async () => {
  const { server } = await listening({});
  expect(() => server.channel('no space')).toThrow(
    expect.objectContaining({ code: 'HOLDLINE_BAD_CHANNEL' }),
  );
  const channel = server.channel('c');
  await expect(channel.publish({ event: 'gap', data: '' })).rejects.toMatchObject({
    code: 'HOLDLINE_BAD_EVENT_TYPE',
  });
  await expect(channel.publish({ data: new Uint8Array([0xff]) })).rejects.toMatchObject({
    code: 'HOLDLINE_NOT_UTF8',
  });
  await expect(channel.publish({ data: () => 1 })).rejects.toMatchObject({
    code: 'HOLDLINE_BAD_JSON',
  });
  await expect(channel.publish({ data: 'x'.repeat(70_000) })).rejects.toMatchObject({
    code: 'HOLDLINE_TOO_LARGE',
  });
  await expect(channel.publish({ data: () => 1 })).rejects.toBeInstanceOf(HoldlineError);
  expect(server.stats().counters.events_accepted_total).toBe(0);
});

test('authorize decides over every subscribe and publish, at once or later, and sees action, channels, headers and query', async () => {
  const asked: unknown[] = [];
  const { server, url } = await listening({
    openPublish: true,
    authorize: ({ action, channels, headers, query }) => {
      asked.push([action, channels, headers['x-who'], query]);
      const answer = headers['x-who'] === 'friend';
      return query.includes('later')
        ? new Promise((resolve) => setImmediate(() => resolve(answer)))
        : answer;
    },
  });
  for (const query of ['', '?later']) {
    const refused = await fetch(`${url}/c${query}`, { method: 'POST', body: 'x' });
    expect([
      refused.status,
      ((await refused.json()) as { error: { code: string } }).error.code,
    ]).toEqual([403, 'HOLDLINE_FORBIDDEN']);
    expect((await fetch(`${url}/c${query}`)).status).toBe(403);
    const reading = readUntil(`${url}/c${query}`, (text) => text.includes('data: hi'), {
      'x-who': 'friend',
    });
    await expect.poll(() => server.stats().lines.open).toBe(1);
    const accepted = await fetch(`${url}/c${query}`, {
      method: 'POST',
      body: 'hi',
      headers: { 'x-who': 'friend' },
    });
    expect(accepted.status).toBe(200);
    await reading;
    await expect.poll(() => server.stats().lines.open).toBe(0);
  }
  expect(asked).toContainEqual(['publish', ['c'], 'friend', 'later']);
  expect(asked).toContainEqual(['subscribe', ['c'], undefined, '']);
});

test('onOpen and onClose are told of every line, and a throwing hook reaches onError and nobody else', async () => {
  const told: string[] = [];
  const { server, url } = await listening({
    onOpen: ({ channels }) => told.push(`open ${channels.join(',')}`),
    onClose: ({ channels }) => {
      told.push(`close ${channels.join(',')}`);
      throw new Error('a mistake in the hook');
    },
    onError: (error) => told.push((error as Error).message),
  });
  await server.channel('a').publish({ data: 'x' });
  await readUntil(`${url}/a,b?since=0`, (text) => text.includes('"x"'), {});
  await expect.poll(() => told).toEqual(['open a,b', 'close a,b', 'a mistake in the hook']);
});

test('an iterator gets what a stream beside it gets, from the same publishers to the same end', async () => {
  const told: string[] = [];
  const { server, url } = await listening({
    openPublish: true,
    replayEvents: 4,
    onOpen: ({ channels }) => told.push(`open ${channels.join()}`),
    onClose: ({ channels }) => told.push(`close ${channels.join()}`),
  });
  const channel = server.channel('c');
  await channel.publishAll(Array.from({ length: 9 }, (_, i) => ({ data: i })));
  const subscription = channel.subscribe({ after: 2 });
  const stream = await fetch(`${url}/c?since=2`, { headers: { Accept: 'application/x-ndjson' } });
  expect(channel.subscribers).toBe(2);
  await channel.publish({ event: 'words', data: 'two\nlines' });
  await fetch(`${url}/c`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"a": [1, 2]}',
  });
  const items: unknown[] = [];
  for await (const item of subscription) {
    items.push(item);
    if (item.id === 11) void channel.delete();
  }
  const lines = (await stream.text()).split('\n').filter((line) => line !== '');
  const objects = lines.map((line) => JSON.parse(line) as unknown);
  expect([...items, { end: subscription.end }]).toEqual(objects);
  expect(items).toEqual([
    { gap: { after: 2, before: 6 } },
    ...[6, 7, 8, 9].map((id) => ({ id, channel: 'c', data: id - 1 })),
    { id: 10, channel: 'c', event: 'words', data: 'two\nlines' },
    { id: 11, channel: 'c', data: { a: [1, 2] } },
  ]);
  await expect.poll(() => told.toSorted()).toEqual(['close c', 'close c', 'open c', 'open c']);
});

test('an iterator that is not read holds back nobody, and gets the rest when it reads on', async () => {
  const { server, url } = await listening({ replayEvents: 5000, replayBytes: 2 ** 24 });
  const channel = server.channel('c');
  const unread = channel.subscribe();
  const reading = readUntil(`${url}/c`, (text) => text.includes('id: 1000\n'));
  await expect.poll(() => channel.subscribers).toBe(2);
  const data = 'x'.repeat(1000);
  for (let i = 0; i < 10; i++)
    await channel.publishAll(Array.from({ length: 100 }, () => ({ data })));
  await reading;
  expect(server.stats().lines).toMatchObject({ stalled: 1, open: 2 });
  let next = 1;
  for await (const { id, gap } of unread) {
    expect([id, gap]).toEqual([next, undefined]);
    if (next++ === 1000) break;
  }
  expect(server.stats().counters.gaps_total).toBe(0);
});

test('close ends iterators when its time is over, also one that nobody reads', async () => {
  const { server } = await listening({});
  const channel = server.channel('c');
  const [read, unread] = [channel.subscribe(), channel.subscribe()];
  const ends = (async () => {
    for await (const _ of read);
    return read.end;
  })();
  const data = 'x'.repeat(60_000);
  for (let i = 0; i < 4; i++) await channel.publish({ data });
  const startMs = performance.now();
  await server.close({ drainMs: 300 });
  expect(performance.now() - startMs).toBeLessThan(2000);
  expect([await ends, unread.end?.code, server.stats().lines.open]).toEqual([
    { code: 'draining', reconnect: true },
    'draining',
    0,
  ]);
});

test('a second server cannot take the port, a closed one cannot listen again, and both say so', async () => {
  const { server, url } = await listening({});
  const other = createServer({ port: Number(new URL(url).port) });
  await expect(other.listen()).rejects.toMatchObject({ code: 'HOLDLINE_LISTEN' });
  await server.close({ drainMs: 0 });
  await expect(server.listen()).rejects.toMatchObject({ code: 'HOLDLINE_LISTEN' });
  await expect(server.channel('c').publish({ data: 'late' })).rejects.toMatchObject({
    code: 'HOLDLINE_DRAINING',
  });
});
