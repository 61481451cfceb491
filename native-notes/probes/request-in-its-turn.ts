// When a request may be read and its body be asked for: in the handler, in microtasks and ticks of
// its turn, later. And how a method is spelled.
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpRequest, ProbeResult } from './support.js';

const moments: [
  name: string,
  path: string,
  later: (task: () => void) => void,
  isInTurn: boolean,
][] = [
  ['in the handler', '/now', (task) => task(), true],
  ['in a microtask', '/microtask', (task) => void Promise.resolve().then(task), true],
  ['in process.nextTick', '/tick', (task) => process.nextTick(task), true],
  ['in setImmediate', '/immediate', (task) => void setImmediate(task), false],
];

const uses: ((request: HttpRequest) => unknown)[] = [
  (request) => request.getUrl(),
  (request) => request.getMethod(),
  (request) => request.getQuery(),
  (request) => request.getHeader('host'),
  (request) => request.forEach(() => {}),
];

/** What a request answers at that moment: `read`, or `throw` for every one of its methods. */
function readOrThrows(request: HttpRequest): string {
  const threw = uses.filter((use) => {
    try {
      use(request);
      return false;
    } catch {
      return true;
    }
  });
  return threw.length === 0
    ? 'read'
    : threw.length === uses.length
      ? 'throw'
      : `${String(threw.length)} of ${String(uses.length)} throw`;
}

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let found = '';
  let body = '';
  let lasts = 0;
  const { port } = await listen(
    uWS.App().any('/*', (response, request) => {
      const later = moments.find(([, path]) => path === request.getUrl())?.[2];
      const method = request.getMethod();
      response.onAborted(() => {});
      later?.(() => {
        found = method === 'get' ? readOrThrows(request) : method;
        if (method !== 'post') return;
        response.onData((chunk, isLast) => {
          body += Buffer.from(chunk).toString();
          lasts += Number(isLast);
        });
      });
    }),
  );
  const ask = async (text: string): Promise<RawClient> => {
    found = '';
    body = '';
    lasts = 0;
    const client = new RawClient(port).send(text);
    await until(() => found !== '', text);
    return client;
  };

  for (const [name, path, , isInTurn] of moments) {
    const client = await ask(`GET ${path} HTTP/1.1\r\nHost: probe\r\n\r\n`);
    findings.add(
      `${name}: getUrl(), getMethod(), getQuery(), getHeader(), forEach()`,
      found,
      isInTurn ? 'read' : 'throw',
    );
    client.destroy();
  }
  for (const [name, path, , isInTurn] of moments) {
    const head = `POST ${path} HTTP/1.1\r\nHost: probe\r\nContent-Length: 5\r\n\r\n`;
    const whole = await ask(`${head}hello`);
    for (let at = 0; at < 20; at++) await turn();
    const inOne = `"${body}", last ${String(lasts)}`;
    findings.add(
      `${name}: onData(), the body came with the head`,
      inOne,
      isInTurn ? '"hello", last 1' : '"", last 0',
    );
    whole.destroy();
    const late = await ask(head);
    late.send('hello');
    await until(() => lasts > 0, 'the body');
    findings.add('… the body comes later', `"${body}", last ${String(lasts)}`, '"hello", last 1');
    late.destroy();
  }
  for (const [line, method] of [
    ['PUT', 'put'],
    ['Post', 'post'],
    ['PROPFIND', 'propfind'],
  ]) {
    const client = await ask(
      `${String(line)} /now HTTP/1.1\r\nHost: probe\r\nContent-Length: 0\r\n\r\n`,
    );
    findings.add(`getMethod() of ${String(line)}`, found, String(method));
    client.destroy();
  }
  return {
    claim:
      'A request may be read in its handler, microtasks and ticks, and throws from the next turn on; onData() set then never gets a body that came with the head. getMethod() is in lower case.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
