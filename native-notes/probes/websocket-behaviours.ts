// Two behaviours on two patterns: which one a handshake is given, now and later, and what a missing
// context does.
import {
  afterHead,
  clientFrame,
  describeFrames,
  Findings,
  listen,
  main,
  RawClient,
  runScript,
  until,
  upgradeHeaders,
  uWS,
  uwsPackage,
} from './support.js';
import type { HttpRequest, HttpResponse, ProbeResult } from './support.js';

type Context = Parameters<HttpResponse['upgrade']>[4];

const large = 1000;
const small = 100;

/** Upgrades with no context in a process of its own; the signal it ends with. */
async function endWithout(context: string): Promise<string> {
  const { signal, stdout } = await runScript(`
    import uWS from '${uwsPackage}';
    import { connect } from 'node:net';
    uWS.App().ws('/*', { upgrade: (response, request) => {
      try { response.upgrade({}, request.getHeader('sec-websocket-key'), '', '', ${context}); } catch { console.log('thrown'); }
    } }).listen(0, (socket) => {
      const client = connect(uWS.us_socket_local_port(socket), '127.0.0.1');
      client.write(${JSON.stringify(`GET / HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`)});
      client.on('data', () => process.exit(0));
      client.on('close', () => process.exit(0));
    });
  `);
  return signal ?? (stdout.trim() || 'lives');
}

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  const seen: string[] = [];
  let first: Context | undefined;
  const behaviour = (name: string, maxPayloadLength: number): object => ({
    maxPayloadLength,
    idleTimeout: 0,
    open: () => seen.push(`open ${name}`),
    message: (_socket: unknown, message: ArrayBuffer) =>
      seen.push(`message ${message.byteLength} B`),
    close: () => seen.push('close'),
  });
  const { port } = await listen(
    uWS
      .App()
      .ws('/:one', {
        ...behaviour('first', large),
        upgrade: (_response, request, context) => {
          seen.push('first');
          first = context;
          request.setYield(true);
        },
      })
      .ws('/*', {
        ...behaviour('second', small),
        upgrade: (response, request: HttpRequest, context) => {
          seen.push('second');
          const [key, path] = [request.getHeader('sec-websocket-key'), request.getUrl()];
          const chosen = path.startsWith('/first') ? first! : context;
          if (!path.endsWith('later')) {
            response.upgrade({}, key, '', '', chosen);
            return;
          }
          response.onAborted(() => seen.push('aborted'));
          setTimeout(() => response.cork(() => response.upgrade({}, key, '', '', chosen)), 5);
        },
      })
      .any('/*', (response) => {
        seen.push('any');
        response.end();
      }),
  );
  const whole = `message ${String(large)} B`;
  for (const [path, sent, wanted] of [
    ['/second', small, `first,second,open second,message ${String(small)} B`],
    ['/second', large, 'first,second,open second,close'],
    ['/first', large, `first,second,open first,${whole}`],
    ['/first-later', large, `first,second,open first,${whole}`],
    ['/second-later', large, 'first,second,open second,close'],
    ['/first/of-two-segments', large, `second,open first,${whole}`],
    ['/', large, 'second,open second,close'],
  ] as const) {
    seen.length = 0;
    const client = new RawClient(port).get(path, upgradeHeaders);
    await until(() => client.text().includes('\r\n\r\n'), path);
    client.send(clientFrame(0x81, 'a'.repeat(sent))).send(clientFrame(0x89, 'p'));
    await until(
      () => client.closed || describeFrames(afterHead(client)) === 'pong "p"',
      `${path}: pong or close`,
    );
    if (client.closed) await until(() => seen.includes('close'), 'its close');
    findings.add(`GET ${path}, then ${String(sent)} B`, seen.join(), wanted);
    client.destroy();
    await until(() => seen.includes('close'), 'its close');
  }
  seen.length = 0;
  const plain = new RawClient(port).get('/first');
  await until(() => plain.text().includes('\r\n\r\n'), 'the plain answer');
  findings.add('GET /first without a handshake', seen.join(), 'any');
  plain.destroy();
  const [missing, unset] = await Promise.all([endWithout('undefined'), endWithout('null')]);
  findings.add(
    'upgrade() with the context undefined ends the process',
    missing.startsWith('SIG'),
    true,
  );
  findings.add('upgrade() with the context null ends the process', unset.startsWith('SIG'), true);
  return {
    claim:
      'Of two matching patterns the first is called first and may yield to the second; upgrade() takes the context of either, also in a later turn, and the WebSocket has that context’s behaviour; without a context the process ends.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
