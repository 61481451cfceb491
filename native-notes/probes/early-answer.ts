// What becomes of a body, and of the connection, when the answer is given before all of the body
// has come. The body looks like a request.
import { RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const body = 'GET /smuggled HTTP/1.1\r\nHost: probe\r\n\r\n';
const firstBytes = 10;

/** How a handler answers; `take` sets onData. */
const ways: [name: string, answer: (response: HttpResponse, take: () => void) => void][] = [
  ['in the handler, without onData', (response) => void response.end('no')],
  [
    'in the handler, after onData',
    (response, take) => {
      take();
      response.end('no');
    },
  ],
  [
    'in setImmediate, after onData',
    (response, take) => {
      take();
      setImmediate(() => response.cork(() => void response.end('no')));
    },
  ],
];

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  let handled: string[] = [];
  let heard = '';
  let lasts = 0;
  let aborted = 0;
  const { port } = await listen(
    uWS.App().any('/*', (response, request) => {
      const path = request.getUrl();
      handled.push(path);
      response.onAborted(() => void aborted++);
      const answer = ways[Number(path.slice(1))]?.[1];
      if (answer === undefined) response.end('next');
      else {
        answer(response, () =>
          response.onData((chunk, isLast) => {
            heard += Buffer.from(chunk).toString();
            lasts += Number(isLast);
          }),
        );
      }
    }),
  );
  for (const [at, [name]] of ways.entries()) {
    for (const framing of ['Content-Length', 'chunked'] as const) {
      handled = [];
      heard = '';
      lasts = 0;
      aborted = 0;
      const isChunked = framing === 'chunked';
      const frame = (text: string): string =>
        isChunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text;
      const field = isChunked
        ? 'Transfer-Encoding: chunked'
        : `Content-Length: ${String(body.length)}`;
      const client = new RawClient(port).send(
        `POST /${String(at)} HTTP/1.1\r\nHost: probe\r\n${field}\r\n\r\n${frame(body.slice(0, firstBytes))}`,
      );
      await until(() => client.text().endsWith('no'), 'the early answer');
      // A segment of its own, after the answer.
      await turn(5);
      client.send(`${frame(body.slice(firstBytes))}${isChunked ? '0\r\n\r\n' : ''}`);
      await turn(5);
      client.get('/next');
      await until(() => client.text().endsWith('next') || client.closed, 'the next answer');
      const hearing =
        heard === ''
          ? ''
          : `${heard === body ? 'all' : `${String(heard.length)} bytes`}, last ${String(lasts)}`;
      rows.push({
        answered: name,
        body: framing,
        'onData heard': hearing,
        'requests handled': handled.join(' '),
        'next request on the connection': client.text().endsWith('next') ? 'answered' : 'closed',
        onAborted: aborted,
      });
      holds &&= hearing === (at === 0 ? '' : 'all, last 1');
      holds &&=
        handled.join(' ') === `/${String(at)} /next` &&
        client.text().endsWith('next') &&
        aborted === 0;
      client.destroy();
    }
  }
  return {
    claim:
      'An answer may be given before the body has come: the rest is read and never parsed as a request, onData is still called for it, and the connection serves the next request.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
