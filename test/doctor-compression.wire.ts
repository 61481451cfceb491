/**
 * `holdline doctor --through … --direct …`: what it says about compression is what real proxies do
 * with it.
 */
import { describe, expect, it } from 'vitest';
import { ANSWER_MS, probePath } from '../src/tools/doctor/proxy-path.js';
import type { Finding } from '../src/tools/doctor/finding.js';
import { checkPath } from '../src/tools/doctor/path-checks.js';
import {
  caddyForTest,
  HAPROXY_FOR_STREAMS,
  haproxyForTest,
  nginxForTest,
  nginxLines,
} from './support/front.js';
import { sharedHosted, type HostedServer } from './support/hosted.js';

/** Compresses, and asks proxies not to. */
const sharing = sharedHosted({ compress: 'shared' });
/** Sends plain bytes, and lets proxies compress. */
const plain = sharedHosted({ 'allow-transform': true });

/** Where a test waits twice for what never comes: long enough for the answers that do. */
const BRIEFLY_MS = 600;

/** What the doctor finds about compression and buffering on the path to a channel. */
async function through(
  base: string,
  server?: HostedServer,
  answerMs = ANSWER_MS,
): Promise<{ readonly compression: Finding | undefined; readonly buffering: Finding | undefined }> {
  const seen = await probePath({
    url: `${base}/c`,
    directUrl: server === undefined ? undefined : `${server.url}/c`,
    publishKey: undefined,
    idleMs: 1,
    answerMs,
  });
  const findings = checkPath(seen, 10_000);
  const named = (name: string) => findings.find((finding) => finding.name === name);
  return { compression: named('compression'), buffering: named('buffering') };
}

type Says = Pick<Finding, 'level' | 'value'>;
const PASSED: Says = { level: 'ok', value: 'gzip, as the server made it for all lines' };
const STRIPPED: Says = {
  level: 'advice',
  value: 'none: the server compresses, but Accept-Encoding does not reach it through the proxy',
};
const UNPACKED: Says = {
  level: 'advice',
  value: 'none: the server compresses, and something on the path decompresses',
};
/** Where the path compresses polls, which may be transformed, their length tells nothing. */
const EITHER: Says = {
  level: 'advice',
  value: 'none: the server compresses; Accept-Encoding does not reach it, or the path decompresses',
};
const ADDED: Says = {
  level: 'advice',
  value: 'gzip made on the path; the server sends plain bytes',
};
const REPLACED: Says = {
  level: 'advice',
  value: "gzip made on the path, in place of the server's",
};
const COMPRESSING = 'gzip on; gzip_types text/event-stream; gzip_min_length 0;';
const NGINX = nginxLines();
type Case = readonly [
  what: string,
  server: () => HostedServer,
  front: (port: number) => Promise<string> | string,
  says: Says,
];

describe('of compression the doctor says what becomes of it', () => {
  it.each<Case>([
    ['nothing in between', sharing, () => sharing().url, PASSED],
    ['an nginx that passes streams on', sharing, (port) => nginxForTest(port, NGINX), PASSED],
    [
      'a haproxy that passes streams on',
      sharing,
      (port) => haproxyForTest(port, HAPROXY_FOR_STREAMS),
      PASSED,
    ],
    ['a caddy that passes streams on', sharing, (port) => caddyForTest(port, []), PASSED],
    [
      'an nginx that compresses, too',
      sharing,
      (port) => nginxForTest(port, `${NGINX} ${COMPRESSING}`),
      PASSED,
    ],
    [
      'an nginx without Accept-Encoding',
      sharing,
      (port) => nginxForTest(port, `${NGINX} proxy_set_header Accept-Encoding "";`),
      STRIPPED,
    ],
    [
      'an nginx without Accept-Encoding that compresses by itself',
      sharing,
      (port) => nginxForTest(port, `${NGINX} proxy_set_header Accept-Encoding ""; ${COMPRESSING}`),
      REPLACED,
    ],
    [
      'an nginx that decompresses',
      sharing,
      async (port) => {
        const unpacking = `${NGINX} proxy_set_header Accept-Encoding gzip; gunzip on;`;
        const inner = await nginxForTest(port, unpacking);
        const stripping = `${NGINX} proxy_set_header Accept-Encoding "";`;
        return nginxForTest(Number(new URL(inner).port), stripping);
      },
      UNPACKED,
    ],
    [
      'an nginx that compresses what is plain',
      plain,
      (port) => nginxForTest(port, `${NGINX} ${COMPRESSING}`),
      ADDED,
    ],
    [
      'a haproxy that offloads',
      sharing,
      (port) =>
        haproxyForTest(port, HAPROXY_FOR_STREAMS, {
          listen: ['compression algo gzip', 'compression offload'],
        }),
      EITHER,
    ],
    [
      // Go then asks for gzip by itself, and decompresses.
      'a caddy without Accept-Encoding',
      sharing,
      (port) => caddyForTest(port, ['header_up -Accept-Encoding']),
      UNPACKED,
    ],
  ])('%s', async (_what, server, front, says) => {
    const { compression, buffering } = await through(await front(server().port), server());
    expect(compression).toMatchObject(says);
    expect(compression!.mend === null).toBe(says.level === 'ok');
    expect(buffering!.level).toBe('ok');
  });

  it('without --direct, whose gzip it is', async () => {
    expect((await through(sharing().url)).compression).toMatchObject(PASSED);
    const front = await nginxForTest(plain().port, `${NGINX} ${COMPRESSING}`);
    expect((await through(front)).compression).toMatchObject({
      level: 'advice',
      value: 'gzip made on the path',
    });
  });

  it.each<readonly [what: string, front: (port: number) => Promise<string>]>([
    [
      'a haproxy that compresses',
      (port) => haproxyForTest(port, [...HAPROXY_FOR_STREAMS, 'compression algo gzip']),
    ],
    [
      'a caddy that compresses',
      (port) => caddyForTest(port, [], ['encode {', 'gzip', 'minimum_length 1', '}']),
    ],
  ])('%s what is plain, and waits for more bytes than an event has', async (_what, front) => {
    const at = await front(plain().port);
    const { compression, buffering } = await through(at, plain(), BRIEFLY_MS);
    expect(compression).toMatchObject({
      level: 'problem',
      value:
        'held back: events come late to a client that takes gzip, and at once to one that does not',
    });
    expect(buffering!.level).toBe('problem');
  });
});
