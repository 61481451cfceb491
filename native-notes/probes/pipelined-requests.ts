// A request that comes while one is unanswered closes the connection; pipelined requests work if
// each is answered before its handler's microtasks end.
import { RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

type When =
  | 'in the onData callback'
  | 'in a microtask of onData'
  | 'in process.nextTick of onData'
  | 'in setImmediate'
  | 'after the second has come';

const post = (name: string): string =>
  `POST /${name} HTTP/1.1\r\nHost: probe\r\nContent-Length: 2\r\n\r\n${name}`;

type Seen = { handlers: number; aborted: number; lateAnswer: string; release: (() => void)[] };

async function serve(when: When): Promise<{ port: number; seen: Seen }> {
  const seen: Seen = { handlers: 0, aborted: 0, lateAnswer: '', release: [] };
  const answer = (response: HttpResponse, text: string): void => {
    try {
      response.cork(() => response.end(text));
    } catch {
      seen.lateAnswer = 'throws';
    }
  };
  const { port } = await listen(
    uWS.App().post('/*', (response) => {
      seen.handlers++;
      let body = '';
      response.onAborted(() => seen.aborted++);
      response.onData((chunk, isLast) => {
        body += Buffer.from(chunk).toString();
        if (!isLast) return;
        if (when === 'in the onData callback') answer(response, body);
        else if (when === 'in a microtask of onData')
          void Promise.resolve().then(() => answer(response, body));
        else if (when === 'in process.nextTick of onData')
          process.nextTick(() => answer(response, body));
        else if (when === 'in setImmediate') setImmediate(() => answer(response, body));
        else seen.release.push(() => answer(response, body));
      });
    }),
  );
  return { port, seen };
}

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;

  // 1. More bytes on an open stream.
  for (const [what, bytes] of [
    ['a second request', 'GET /b HTTP/1.1\r\nHost: probe\r\n\r\n'],
    ['half a request line', 'GET /b HT'],
    ['a garbage line', 'what is this\r\n\r\n'],
    ['one CRLF', '\r\n'],
  ] as const) {
    let handlers = 0;
    let aborted = 0;
    const { port } = await listen(
      uWS.App().get('/*', (response) => {
        handlers++;
        response.onAborted(() => aborted++);
        response.write('first bytes');
      }),
    );
    const client = new RawClient(port).get('/a');
    await until(() => client.text().includes('first bytes'), 'the stream');
    const before = client.receivedBytes;
    client.send(bytes);
    for (let at = 0; at < 100 && !client.closed; at++) await turn();
    const got = client.text().slice(before).split('\r\n')[0] ?? '';
    rows.push({
      case: `open stream, then ${what}`,
      handlers,
      onAborted: aborted,
      'client got': got === '' ? 'nothing' : got,
      closed: client.closed,
    });
    if (what === 'a second request')
      holds &&= client.closed && handlers === 1 && aborted === 1 && got === '';
    client.destroy();
  }

  // 2. Two POSTs at once, by when the first is answered.
  const cases: [When, number][] = [
    ['in the onData callback', 1],
    ['in a microtask of onData', 1],
    ['in process.nextTick of onData', 1],
    ['in setImmediate', 1],
    ['after the second has come', 2],
  ];
  for (const [when, segments] of cases) {
    const { port, seen } = await serve(when);
    const client = new RawClient(port);
    if (segments === 1) {
      client.send(post('aa') + post('bb'));
    } else {
      client.send(post('aa'));
      await until(() => seen.release.length === 1, 'the first body');
      client.send(post('bb'));
    }
    await until(() => client.closed || /aa[^]*bb/.test(client.text()), 'both answers or the end');
    for (const release of seen.release) release();
    await turn();
    const answers = [...client.text().matchAll(/\r\n\r\n(aa|bb)/g)]
      .map((match) => match[1])
      .join(' ');
    rows.push({
      case: `two POSTs in ${String(segments)} segment${segments === 1 ? '' : 's'}, answered ${when}`,
      handlers: seen.handlers,
      onAborted: seen.aborted,
      'client got': answers === '' ? 'nothing' : answers,
      closed: client.closed,
      'the answer then': seen.lateAnswer,
    });
    const closes = when === 'in setImmediate' || when === 'after the second has come';
    holds &&= closes
      ? client.closed &&
        answers === '' &&
        seen.handlers === 1 &&
        seen.aborted === 1 &&
        seen.lateAnswer === 'throws'
      : answers === 'aa bb' && !client.closed;
    client.destroy();
  }
  return {
    claim:
      'A request that arrives while one is unanswered closes the connection without a byte; pipelined POSTs work if answered in onData, its microtasks or nextTick.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
