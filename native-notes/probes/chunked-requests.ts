// What follows a chunked body on its connection: parsed as a request in the same turn, unless the
// answer waits a turn and then closes.
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { ProbeResult } from './support.js';

const HEAD = 'POST /c HTTP/1.1\r\nHost: probe\r\nTransfer-Encoding: chunked\r\n\r\n';
const NEXT = 'GET /next HTTP/1.1\r\nHost: probe\r\n\r\n';

/**
 * What a client sends, one text a segment, and what is handled of it; nothing is asked of an answer
 * at once where `atOnce` is empty.
 */
const cases: readonly (readonly [
  name: string,
  segments: readonly string[],
  atOnce: string,
  aTurnLater: string,
])[] = [
  ['a body and nothing else', [`${HEAD}3\r\nabc\r\n0\r\n\r\n`], 'abc', 'abc'],
  ['without the last CRLF', [`${HEAD}3\r\nabc\r\n0\r\n`], 'abc', 'abc'],
  ['a request behind it', [`${HEAD}3\r\nabc\r\n0\r\n\r\n${NEXT}`], 'abc /next', 'nothing'],
  [
    'any two bytes for the last CRLF, and a request',
    [`${HEAD}3\r\nabc\r\n0\r\nXX${NEXT}`],
    'abc /next',
    'nothing',
  ],
  ['a trailer that is a request behind two bytes', [`${HEAD}0\r\na:${NEXT}`], ' /next', 'nothing'],
  ['an empty size line, and a request', [`${HEAD}3\r\nabc\r\n\r\n${NEXT}`], 'abc /next', 'nothing'],
  [
    'a legal trailer in the same segment',
    [`${HEAD}3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`],
    'abc 505',
    '505',
  ],
  [
    'a legal trailer in the next segment',
    [`${HEAD}3\r\nabc\r\n0\r\n`, 'X-T: 1\r\n\r\n'],
    '',
    'abc',
  ],
  [
    'a chunk extension 3;a=b, read as hexadecimal',
    [`${HEAD}3;a=b\r\nabc\r\n0\r\n\r\n`],
    'waits',
    'waits',
  ],
];

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let done: string[] = [];
  let waits = false;
  let received = 0;
  const { port } = await listen(
    uWS.App().any('/*', (response, request) => {
      if (request.getUrl() === '/next') {
        done.push('/next');
        response.end('next');
        return;
      }
      let gone = false;
      let body = '';
      response.onAborted(() => (gone = true));
      response.onData((piece, isLast) => {
        received++;
        body += Buffer.from(piece).toString();
        if (!isLast) return;
        const act = (): void => {
          if (gone) return;
          done.push(body);
          response.cork(() => response.end('done', waits));
        };
        if (waits) setImmediate(act);
        else act();
      });
    }),
  );
  for (const [name, segments, atOnce, aTurnLater] of cases) {
    for (const [way, wanted] of [
      ['answered at once', atOnce],
      ['answered a turn later, with a close', aTurnLater],
    ] as const) {
      if (wanted === '') continue;
      waits = wanted === aTurnLater && way !== 'answered at once';
      done = [];
      const client = new RawClient(port);
      for (const [index, segment] of segments.entries()) {
        const before = received;
        client.send(segment);
        await turn(10);
        // Else a server that is late reads it together with the next one.
        if (index < segments.length - 1) await until(() => received > before, name);
      }
      if (wanted === 'waits') await turn(50);
      else await until(() => client.closed || client.text().includes('HTTP/1.1'), name);
      await turn(10);
      const native = /^HTTP\/1\.1 505/m.test(client.text()) ? '505' : '';
      const seen = [...done, native]
        .filter((word, at) => word !== '' || (at === 0 && done.length > 1))
        .join(' ');
      findings.add(`${name}, ${way}`, seen || (client.closed ? 'nothing' : 'waits'), wanted);
      client.destroy();
    }
  }
  return {
    claim:
      'What follows the last chunk is parsed as a request in the same turn, without its first two bytes; an answer a turn later finds the connection closed for it. The last chunk is reported at its size line.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
