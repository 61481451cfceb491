/** The OpenAPI description as it is served, and answers of a server against it. */
import { describe, expect, test } from 'vitest';
import { OPENAPI } from '../src/ops/openapi.js';
import { sharedHosted } from './support/hosted.js';
import { jsonOf } from './support/wire.js';

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
