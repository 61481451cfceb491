/** The OpenAPI description as it is served, and answers of a server against it. */
import { describe, expect, test } from 'vitest';
import { OPENAPI } from '../src/ops/openapi.js';
import { PAGE_ANSWERS } from '../src/ops/openapi-pages.js';
import { begunBefore } from './support/begun.js';
import { sharedHosted } from './support/hosted.js';
import { SseLine } from './support/line.js';
import { sharedServer, TestServer } from './support/server.js';
import { codeOf, jsonOf } from './support/wire.js';

const NDJSON = { 'Content-Type': 'application/x-ndjson' };

describe('/-/openapi.json', () => {
  const shared = sharedHosted({ 'publish-key': 'sesame', 'open-publish': false });

  test('is open to all, is JSON, and is the description', async () => {
    const answer = await shared().request('GET', '/-/openapi.json');
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(jsonOf(answer)).toEqual(OPENAPI);
    expect((await shared().request('POST', '/-/openapi.json', { body: 'x' })).status).toBe(405);
  });

  test('each path is served with the methods that are described', async () => {
    for (const [path, item] of Object.entries(OPENAPI.paths)) {
      if (!path.startsWith('/-/')) continue;
      const answer = await shared().request('OPTIONS', path);
      const allowed = answer.headers
        .get('allow')!
        .split(', ')
        .filter((method) => method !== 'HEAD');
      const described = Object.keys(item)
        .map((method) => method.toUpperCase())
        .filter((name) => /^(?:GET|POST|DELETE)$/.test(name));
      expect([path, allowed.toSorted()]).toEqual([path, described.toSorted()]);
    }
  });
});

describe('what a server answers', () => {
  const shared = sharedHosted();
  const members = (value: unknown): string[] => Object.keys(value as object).toSorted();
  const described = (name: keyof typeof OPENAPI.components.schemas): string[] =>
    (OPENAPI.components.schemas[name] as unknown as { required: string[] }).required.toSorted();

  test('has the members that are described', async () => {
    const server = shared();
    const single = await server.post('a', 'x');
    expect(members(jsonOf(single))).toEqual(described('Receipt'));
    const batch = await server.request('POST', '/-/publish', {
      headers: NDJSON,
      body: '{"channel":"a","data":1}\n',
    });
    expect(members(jsonOf(batch))).toEqual(described('BatchReceipt'));
    const refused = await server.request('GET', '/a..b');
    expect(members(jsonOf(refused))).toEqual(described('Refusal'));
    const event = await server.request('GET', '/a?since=0&wait=0');
    expect(members(jsonOf(event))).toEqual(described('Event'));
  });
});

/** The codes that a GET of the path is described to be refused with, under a status. */
function codesOf(path: string, status: number): string[] {
  const { get } = (OPENAPI.paths as unknown as Record<string, { get: Operation }>)[path]!;
  return get.responses[status]?.description.split(', ') ?? [];
}

interface Operation {
  readonly parameters: readonly { readonly name: string; readonly description: string }[];
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}

/** Why a GET of each page that takes a key is refused while the supervisor stands still. */
const refusedPages = begunBefore(async (atEnd) => {
  const server = await TestServer.start({ workers: 2 });
  atEnd(() => server.kill());
  server.signal('SIGSTOP');
  const pages = Object.entries(OPENAPI.paths as unknown as Record<string, { get?: object }>)
    .filter(([path]) => path.startsWith('/-/') && path !== '/-/watch')
    .filter(([, { get }]) => JSON.stringify(get)?.includes('bearer'))
    .map(([path]) => path);
  return Promise.all(
    pages.map(async (path) => {
      const headers = server.opsHeaders;
      return [path, server.request('GET', path.replace('{channel}', 'a'), { headers })] as const;
    }),
  );
});

describe('a refusal', () => {
  const shared = sharedHosted();

  test.each([
    ['since', 204],
    ['last_event_id', 400],
  ])('%s=latest is described as it is answered: %i', async (name, status) => {
    const answer = await shared().request('GET', `/c?wait=0&limit=1&${name}=latest`);
    expect(answer.status).toBe(status);
    const { get } = OPENAPI.paths['/{channel}'] as unknown as { get: Operation };
    const { description } = get.parameters.find((one) => one.name === name)!;
    expect(description.includes('latest')).toBe(status === 204);
  });

  test.each([
    ['/', { Host: 'rebound.example' }, 'HOLDLINE_BAD_HOST'],
    ['/', { Origin: 'https://other.example' }, undefined],
    ['/-/health', { Origin: 'https://other.example' }, 'HOLDLINE_CROSS_SITE'],
    ['/-/health', { Host: 'rebound.example' }, undefined],
  ])('of GET %s with %j is the one that is described: %s', async (path, headers, code) => {
    const answer = await shared().request('GET', path, { headers });
    expect(answer.status).toBe(code === undefined ? 200 : 403);
    if (code !== undefined) expect(codeOf(answer)).toBe(code);
    expect(codesOf(path, 403)).toEqual(
      path === '/' ? ['HOLDLINE_BAD_HOST'] : ['HOLDLINE_CROSS_SITE'],
    );
  });

  test.each(['POST', 'DELETE', 'PUT'])(
    '%s / is another method than the path has',
    async (method) => {
      const answer = await shared().request(method, '/', method === 'DELETE' ? {} : { body: 'x' });
      expect([answer.status, codeOf(answer)]).toEqual([405, 'HOLDLINE_METHOD_NOT_ALLOWED']);
      expect(answer.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
      const options = await shared().request('OPTIONS', '/');
      expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
      expect((await shared().request('HEAD', '/')).status).toBe(200);
    },
  );
});

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/** Places where a value is not as its schema says, or has a member that is not described. */
function mismatches(given: Schema, value: unknown, place: string): string[] {
  const name = given.$ref?.split('/').at(-1) as keyof typeof OPENAPI.components.schemas;
  const schema =
    given.$ref === undefined ? given : (OPENAPI.components.schemas[name] as unknown as Schema);
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  const fits = [schema.type ?? type]
    .flat()
    .some((one) => one === type || (one === 'integer' && Number.isInteger(value)));
  if (!fits || schema.enum?.includes(value) === false)
    return [`${place} is ${JSON.stringify(value)}`];
  if (type === 'array')
    return (value as unknown[]).flatMap((item, i) =>
      mismatches(schema.items!, item, `${place}[${i}]`),
    );
  const { properties, required = [] } = schema;
  if (properties === undefined || value === null) return [];
  const members = value as Readonly<Record<string, unknown>>;
  return [
    ...required.filter((one) => !(one in members)).map((one) => `${place}.${one} is missing`),
    ...Object.entries(members).flatMap(([one, member]) =>
      properties[one] === undefined
        ? [`${place}.${one} is not described`]
        : mismatches(properties[one], member, `${place}.${one}`),
    ),
  ];
}

describe.each([
  ['one process', 1],
  ['two workers', 2],
])('the pages of a server of %s', (_name, workers) => {
  const shared = sharedServer({ workers });

  test.each([
    ['health', ''],
    ['ready', ''],
    ['stats', ''],
    ['memory', ''],
    ['connections', ''],
    ['channels', '?sort=rate'],
    ['channel', 's/a?users=1'],
  ] as const)('%s%s is as it is described', async (name, rest) => {
    const server = shared();
    await server.publish('a', 'x');
    const line = await SseLine.open(server.port, '/a?since=0');
    await line.waitForEvents(1);
    const answer = await server.request('GET', `/-/${name}${rest}`, {
      headers: server.opsHeaders,
    });
    line.close();
    expect(answer.status).toBe(200);
    const found = jsonOf(answer) as object;
    expect(mismatches(PAGE_ANSWERS[name], found, name)).toEqual([]);
    const isSummed = !['health', 'ready'].includes(name);
    expect('workers' in found).toBe(workers > 1 && isSummed);
  });
});

test('pages that a worker asks others for are refused as described while they do not answer', async () => {
  const refused = await Promise.all(
    refusedPages().value.map(async ([path, asked]) => {
      const answer = await asked;
      expect(codesOf(path, answer.status)).toContain(codeOf(answer));
      return [path, answer.status];
    }),
  );
  const paths = ['stats', 'memory', 'connections', 'channels', 'channels/{channel}', 'metrics'];
  expect(refused).toEqual(paths.map((path) => [`/-/${path}`, 503]));
});
