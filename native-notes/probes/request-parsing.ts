// What the parser accepts, refuses and hands over: versions, bodies, the path's bytes, header
// values.
import { RawClient, listen, main, turn, uWS } from './support.js';
import type { ProbeResult, Row } from './support.js';

type Seen = { url: string; query: string | undefined; header: string; body: string };

const show = (text: string): string => JSON.stringify(text).replaceAll('\\\\', '\\').slice(1, -1);

export async function probe(): Promise<ProbeResult> {
  let seen: Seen | undefined;
  let aborted = 0;
  const { port } = await listen(
    uWS.App().any('/*', (response, request) => {
      // Typed as a string, and undefined without a `?`.
      const query = request.getQuery() as string | undefined;
      const one: Seen = {
        url: request.getUrl(),
        query,
        header: request.getHeader('x-a'),
        body: '',
      };
      seen = one;
      response.onAborted(() => aborted++);
      response.onData((chunk, isLast) => {
        one.body += Buffer.from(chunk).toString('latin1');
        if (isLast) response.end('ok');
      });
    }),
  );
  const rows: Row[] = [];
  let surprises = 0;
  /**
   * `expected` is what the row has shown before: the answer, then what the handler saw, if it was
   * called.
   */
  const ask = async (name: string, bytes: string, expected: string): Promise<void> => {
    seen = undefined;
    aborted = 0;
    const client = new RawClient(port).send(Buffer.from(bytes, 'latin1'));
    const patience = expected === 'waits' ? 30 : 2000;
    for (let at = 0; at < patience && !client.closed && !client.text().endsWith('ok'); at++)
      await turn();
    const status =
      /^HTTP\/1\.1 (\d+)/.exec(client.text())?.[1] ?? (client.closed ? 'closed' : 'waits');
    // Assigned in the handler, which the compiler does not see.
    const handled = seen as Seen | undefined;
    const parts =
      handled === undefined
        ? []
        : [
            handled.url,
            handled.query === undefined ? '' : `?${handled.query}`,
            handled.header,
            handled.body === '' ? '' : `body ${handled.body}`,
          ];
    const found = [status, ...parts.filter((part) => part !== '')].join(' · ');
    const same = found === expected;
    // Refused after its handler has run: the handler is told by onAborted.
    const told = handled === undefined || status !== '400' || aborted === 1;
    if (!same || !told) surprises++;
    rows.push({
      request: name,
      answer: status,
      closed: client.closed,
      onAborted: handled === undefined ? '' : aborted,
      'handler saw': handled === undefined ? 'not called' : show(found.slice(status.length + 3)),
      ...(same ? {} : { expected: show(expected) }),
    });
    client.destroy();
  };
  const get = (path: string, headers = ''): string =>
    `GET ${path} HTTP/1.1\r\nHost: probe\r\n${headers}\r\n`;
  const post = (headers: string, body: string): string =>
    `POST / HTTP/1.1\r\nHost: probe\r\n${headers}\r\n${body}`;

  await ask('HTTP/1.0', 'GET / HTTP/1.0\r\nHost: probe\r\n\r\n', '505');
  await ask('HTTP/2.0 in the line', 'GET / HTTP/2.0\r\nHost: probe\r\n\r\n', '505');
  await ask('no Host', 'GET / HTTP/1.1\r\n\r\n', '400');
  await ask('absolute target', get('http://probe/a'), '505');
  await ask('OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: probe\r\n\r\n', '505');
  await ask('lower-case method', 'get / HTTP/1.1\r\nHost: probe\r\n\r\n', '200 · /');
  await ask('bare LF line ends', 'GET / HTTP/1.1\nHost: probe\n\n', '505');
  await ask('leading CRLF', `\r\n${get('/')}`, 'waits');

  await ask(
    'Content-Length and Transfer-Encoding',
    post('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', '3\r\nabc\r\n0\r\n\r\n'),
    '400',
  );
  await ask(
    'chunked body',
    post('Transfer-Encoding: chunked\r\n', '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
    '200 · / · body abcde',
  );
  await ask(
    'Transfer-Encoding: gzip, chunked',
    post('Transfer-Encoding: gzip, chunked\r\n', '3\r\nabc\r\n0\r\n\r\n'),
    '200 · / · body abc',
  );
  await ask(
    'bad chunk size',
    post('Transfer-Encoding: chunked\r\n', 'zz\r\nabc\r\n0\r\n\r\n'),
    '400 · /',
  );
  await ask(
    'Content-Length: 3 and 2',
    post('Content-Length: 3\r\nContent-Length: 2\r\n', 'abc'),
    '200 · / · body abc',
  );
  await ask('Content-Length: +3', post('Content-Length: +3\r\n', 'abc'), '400 · /');
  await ask('Content-Length: -1', post('Content-Length: -1\r\n', 'abc'), '400 · /');
  await ask('POST without a length', post('', ''), '200 · /');
  await ask('GET with a body', get('/', 'Content-Length: 3\r\n') + 'abc', '200 · / · body abc');
  await ask(
    'Expect: 100-continue',
    post('Expect: 100-continue\r\nContent-Length: 3\r\n', 'abc'),
    '100 · / · body abc',
  );

  await ask('%41%2Fb in the path', get('/%41%2Fb?q=%41'), '200 · /%41%2Fb · ?q=%41');
  await ask('upper case in the path', get('/AbC?Q=X'), '200 · /AbC · ?Q=X');
  await ask('//, .. and ; in the path', get('//a/../b;c'), '200 · //a/../b;c');
  await ask('a bare ? at the end', get('/a?'), '200 · /a · ?');
  await ask('two ? in the target', get('/a?b?c'), '200 · /a · ?b?c');
  await ask('# in the path', get('/a#b'), '200 · /a#b');
  await ask('é as UTF-8 in the path', get('/\u00c3\u00a9'), '200 · /é');
  await ask('é as Latin-1 in the path', get('/\u00e9'), '200 · /\ufffd');
  await ask('DEL in the path', get('/a\x7fb'), '200 · /a\x7fb');
  await ask('space in the path', get('/a b'), '505');
  await ask('tab in the path', get('/a\tb'), '505');
  await ask('NUL in the path', get('/a\0b'), '505');

  await ask('upper-case header name', get('/', 'X-A: One\r\n'), '200 · / · One');
  await ask('header twice', get('/', 'x-a: one\r\nx-a: two\r\n'), '200 · / · one');
  await ask('header without a value', get('/', 'x-a:\r\n'), '200 · /');
  await ask('spaces around the value', get('/', 'x-a: \t one \t \r\n'), '200 · / · one');
  await ask('space before the colon', get('/', 'x-a : one\r\n'), '400');
  await ask('folded header', get('/', 'x-a: one\r\n two\r\n'), '400');
  await ask(
    'aéb as UTF-8 in a value',
    get('/', 'x-a: a\u00c3\u00a9b\r\n'),
    '200 · / · a\u00c3\u00a9b',
  );
  await ask('aéb as Latin-1 in a value', get('/', 'x-a: a\u00e9b\r\n'), '200 · / · a\u00e9b');
  await ask('value ends in é (UTF-8)', get('/', 'x-a: 5\u00c3\u00a9\r\n'), '200 · / · 5');
  await ask('value starts with é (UTF-8)', get('/', 'x-a: \u00c3\u00a95\r\n'), '200 · / · 5');
  await ask('NUL in a value', get('/', 'x-a: a\0b\r\n'), '400');
  await ask('LF in a value', get('/', 'x-a: a\nb\r\n'), '400');

  return {
    claim:
      'Paths come undecoded and not normalised, read as UTF-8; header values as Latin-1 with bytes over 127 cut off at both ends; getQuery() is undefined without a ?; the first of two headers wins.',
    holds: surprises === 0,
    rows,
  };
}

await main(import.meta.url, probe);
