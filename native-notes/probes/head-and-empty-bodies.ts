// HEAD reaches `any` routes, never `get`; endWithoutBody() is right for HEAD and 204,
// endWithoutBody(n) leaves the response open on the older build; no route is a 404 with a body.
import { RawClient, byBuild, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const routed: string[] = [];
  let aborted = 0;
  const seen = (route: string, end: (response: HttpResponse) => void) => {
    return (response: HttpResponse): void => {
      routed.push(route);
      response.onAborted(() => aborted++);
      end(response);
    };
  };
  const app = uWS
    .App()
    .get(
      '/only-get',
      seen('get', (response) => response.end('get')),
    )
    .get(
      '/both',
      seen('get', (response) => response.end('get')),
    )
    .any(
      '/both',
      seen('any', (response) => response.endWithoutBody()),
    )
    .any(
      '/length',
      seen('any', (response) => response.endWithoutBody(1234)),
    )
    .any(
      '/zero',
      seen('any', (response) => response.endWithoutBody(0)),
    )
    .any(
      '/undefined',
      seen('any', (response) => response.endWithoutBody(undefined, false)),
    )
    .any(
      '/own',
      seen('any', (response) => response.writeHeader('Content-Length', '1234').endWithoutBody()),
    )
    .any(
      '/204',
      seen('any', (response) => response.writeStatus('204 No Content').endWithoutBody()),
    )
    .any(
      '/end',
      seen('any', (response) => response.end()),
    )
    .any(
      '/body',
      seen('any', (response) => response.end('body')),
    );
  const { port } = await listen(app);
  const rows: Row[] = [];
  const answers = new Map<
    string,
    { text: string; closed: boolean; next: boolean; route: string }
  >();
  for (const [method, path] of [
    ['HEAD', '/only-get'],
    ['HEAD', '/both'],
    ['HEAD', '/length'],
    ['HEAD', '/own'],
    ['HEAD', '/zero'],
    ['HEAD', '/undefined'],
    ['GET', '/204'],
    ['HEAD', '/end'],
    ['HEAD', '/body'],
    ['GET', '/unknown'],
  ] as const) {
    routed.length = 0;
    aborted = 0;
    const client = new RawClient(port).send(`${method} ${path} HTTP/1.1\r\nHost: probe\r\n\r\n`);
    await until(() => client.closed || client.text().includes('\r\n\r\n'), `${method} ${path}`);
    await turn();
    const text = client.text();
    const route = routed.join(' ');
    // The same connection again: a client counts bytes by the headers, so anything left over would
    // be read as the next answer.
    client.get('/only-get');
    await until(() => client.closed || client.text().length > text.length, 'the next answer');
    const next = client.text().slice(text.length).endsWith('\r\n\r\nget');
    answers.set(`${method} ${path}`, { text, closed: client.closed, next, route });
    const [head = '', body = ''] = text.split('\r\n\r\n');
    const lines = head.split('\r\n').filter((line) => !/^(Date|uWebSockets):/.test(line));
    rows.push({
      request: `${method} ${path}`,
      'routed to': route === '' ? 'nothing' : route,
      'status and headers': lines.join('; '),
      'body bytes': body.length,
      'next request answered': next,
      onAborted: aborted,
      closed: client.closed,
    });
    client.destroy();
  }
  const of = (name: string): { text: string; closed: boolean; next: boolean; route: string } =>
    answers.get(name) ?? { text: '', closed: false, next: false, route: '' };
  const ends = byBuild({ '20.51.4': false, '20.69.0': true });
  return {
    claim:
      'HEAD never reaches a GET route; endWithoutBody() is right for HEAD and 204; endWithoutBody(n > 0) leaves the response pending on 20.51.4 and ends it on 20.69.0; end(body) and the built-in 404 answer a HEAD with a body.',
    holds:
      of('HEAD /only-get').route === '' &&
      /^HTTP\/1.1 404 [^]*\r\n\r\n[^]/.test(of('HEAD /only-get').text) &&
      of('HEAD /both').route === 'any' &&
      of('HEAD /both').next &&
      !of('HEAD /both').text.includes('Content-Length') &&
      of('HEAD /length').text.includes('Content-Length: 1234\r\n\r\n') &&
      of('HEAD /length').next === ends &&
      of('HEAD /length').closed !== ends &&
      of('HEAD /own').text.includes('Content-Length: 1234\r\n') &&
      of('HEAD /own').next &&
      of('HEAD /zero').next &&
      of('HEAD /undefined').text.includes('Content-Length: 9223372036854775808') &&
      of('HEAD /undefined').next === ends &&
      !of('GET /204').text.includes('Content-Length') &&
      of('GET /204').next &&
      of('HEAD /body').text.endsWith('\r\n\r\nbody') &&
      of('GET /unknown').text.startsWith('HTTP/1.1 404 '),
    rows,
  };
}

await main(import.meta.url, probe);
