/** The small pages that a browser gets: `/`, and refusals that a person will see. */
import { createHash } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';
import { codeOf, type Answer } from './support/wire.js';

/** What Chromium asks for when a person opens a page. */
const AS_BROWSER = {
  Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8',
};

/** A page of HTML whose policy lets in its own style and nothing else. */
function expectPage(answer: Answer, status: number): void {
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  const style = /<style>([^]*)<\/style>/.exec(answer.text)![1]!;
  const hash = createHash('sha256').update(style).digest('base64');
  expect(answer.headers.get('content-security-policy')).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  );
  expect(answer.text).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org|127\.0\.0\.1|localhost)/);
}

describe('a refusal', () => {
  const shared = sharedHosted();

  test.each([
    ['/-/nothing', 404, 'HOLDLINE_NOT_FOUND', 'there is nothing at /-/nothing; there are '],
    ['/a//b', 404, 'HOLDLINE_NOT_FOUND', 'there is nothing at /a//b; a channel is a path such as'],
    ['/-/stats', 401, 'HOLDLINE_UNAUTHORIZED', 'this needs the header Authorization: Bearer'],
    [
      '/a..b',
      400,
      'HOLDLINE_BAD_CHANNEL',
      'the channel name &quot;a..b&quot; has a segment with a leading',
    ],
    ['/c?since=x', 400, 'HOLDLINE_BAD_POSITION', 'since must be an id'],
  ])(
    '%s is a page for a browser, with the same status, code and words',
    async (path, status, code, words) => {
      const server = shared();
      const page = await server.request('GET', path, { headers: AS_BROWSER });
      expectPage(page, status);
      expect(page.text).toContain(`<code>${code}</code>`);
      expect(page.text).toContain(words);
      for (const headers of [{}, { Accept: '*/*' }, { Accept: 'text/event-stream' }]) {
        const answer = await server.request('GET', path, { headers });
        expect([answer.status, codeOf(answer)]).toEqual([status, code]);
      }
    },
  );

  test('comes at once when a person opens a channel of a full server', async () => {
    const server = await hostedForTest({ 'max-connections': 1, retry: '30s' });
    const line = await SseLine.open(server.port, '/c');
    onTestFinished(() => line.close());
    const headers = { ...AS_BROWSER, 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };
    for (const more of [{}, { 'Cache-Control': 'no-cache' }]) {
      const page = await server.request('GET', '/c', { headers: { ...headers, ...more } });
      expectPage(page, 503);
      expect(page.text).toContain('<code>HOLDLINE_LINES_FULL</code>');
    }
  });

  test('is not for who asks for something else first, or for no HTML', async () => {
    for (const accept of ['application/json, text/html;q=0', 'text/html;q=0.0'])
      expect(codeOf(await shared().request('GET', '/a//b', { headers: { Accept: accept } }))).toBe(
        'HOLDLINE_NOT_FOUND',
      );
    expectPage(await shared().request('GET', '/a//b', { headers: { Accept: 'TEXT/HTML' } }), 404);
  });

  test('is JSON for what no person sees: publishes, and preflights', async () => {
    const answer = await shared().request('POST', '/a//b', { headers: AS_BROWSER, body: 'x' });
    expect(codeOf(answer)).toBe('HOLDLINE_NOT_FOUND');
  });

  test('keeps what the client sent from becoming HTML', async () => {
    const answer = await shared().request('GET', '/-/<img/src=x>&"\'', { headers: AS_BROWSER });
    expectPage(answer, 404);
    expect(answer.text).toContain('nothing at /-/&lt;img/src=x&gt;&amp;&quot;&#39;;');
  });
});

/** The option for one key with these rights. */
function keyWith(rights: object): string {
  return JSON.stringify([{ name: 'one', sha256: '0'.repeat(64), ...rights }]);
}

describe('/', () => {
  test.each([
    [{}, /Nobody may publish here/],
    [{ keys: keyWith({ subscribe: ['**'] }) }, /Nobody may publish here/],
    [{ keys: keyWith({ publish: [], ops: true }) }, /Nobody may publish here/],
    [{ keys: keyWith({ publish: ['a'] }) }, /It takes a credential that may publish/],
    [{ 'publish-key': 'k' }, /-H &#39;Authorization: Bearer PUBLISH_KEY&#39; \\\n {2}&#39;http/],
    [
      { 'open-publish': true },
      /curl -d hello \\\n {2}&#39;http:\/\/localhost:1\/notifications\?event/,
    ],
  ])('says who may publish with %j, and how', async (flags, expected) => {
    const server = await hostedForTest({ 'open-publish': false, ...flags });
    const answer = await server.request('GET', '/', { headers: { Host: 'localhost:1' } });
    expectPage(answer, 200);
    const words = answer.text.replaceAll('<wbr>', '');
    expect(words).toMatch(expected);
    expect(words).toContain('curl -N http://localhost:1/notifications');
  });

  test('offers the demo where there is one', async () => {
    const link = '<a class="button" href="/-/demo">';
    expect((await (await hostedForTest()).request('GET', '/')).text).not.toContain(link);
    const withDemo = await (await hostedForTest({ demo: true })).request('GET', '/');
    expect(withDemo.text).toContain(link);
  });

  test('takes no command from a Host, and https from a proxy', async () => {
    const server = await hostedForTest({ 'open-publish': false, 'publish-key': 'k' });
    const ask = async (headers: Record<string, string>): Promise<string> =>
      /curl -N (.+)\/(?:<wbr>)?notifications/.exec(
        (await server.request('GET', '/', { headers })).text,
      )![1]!;
    expect(await ask({ Host: "a';rm" })).toBe('http://localhost:8080');
    expect(await ask({ Host: 'a.example', 'X-Forwarded-Proto': 'https' })).toBe(
      'https://a.example',
    );
    expect(await ask({ Host: '[::1]:80' })).toBe('http://[::1]:80');
  });
});
