// How a certificate changes without a restart: a second app listens on the same port, then the
// first one's socket is closed. What becomes of open streams, of new connects, and of a connect
// that waits when the socket closes: at once, or after the loop has accepted.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import {
  Findings,
  main,
  NotHere,
  RawClient,
  runScript,
  until,
  uWS,
  uwsPackage,
} from './support.js';
import type { HttpResponse, ProbeResult, TemplatedApp } from './support.js';

// App and SSLApp listen, accept and close the same way (tls.ts), so plain sockets show it.

type Socket = Parameters<typeof uWS.us_listen_socket_close>[0];

type ListenWithHost = (
  this: TemplatedApp,
  host: string,
  port: number,
  options: number,
  done: (socket: Socket | false) => void,
) => void;
/** With the default option: the port may be shared. */
function listenShared(app: TemplatedApp, port: number): Socket | false {
  let socket: Socket | false = false;
  (app.listen as unknown as ListenWithHost).call(app, '127.0.0.1', port, 0, (opened) => {
    socket = opened;
  });
  return socket;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => void server.close(resolve));
  return port;
}

/** Connections to the port that nobody has accepted yet: the receive queues of what listens. */
function waitingOn(port: number): number {
  const listening = new RegExp(
    `:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A \\w+:(\\w+)`,
    'g',
  );
  return [...readFileSync('/proc/net/tcp', 'utf8').matchAll(listening)].reduce(
    (sum, [, queue = '0']) => sum + Number.parseInt(queue, 16),
    0,
  );
}

const asking = (port: number): string => `
  const socket = require('node:net').connect(${String(port)}, '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
  socket.on('data', (data) => { console.log(data.toString().slice(-3)); socket.destroy(); }).on('error', (error) => console.log(error.code)).on('close', () => console.log('over'));
`;

const nextTurn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** What became of a connect that waited while `swap` closed the first listening socket. */
async function fateOf(port: number, swap: () => Promise<void>): Promise<string> {
  const child = spawn(process.execPath, ['-e', asking(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (data: Buffer) => (said += data.toString()));
  // This loop stands still until the kernel has completed the connect, which nobody can have
  // accepted then.
  const end = performance.now() + 10_000;
  while (waitingOn(port) === 0)
    if (performance.now() > end) throw new Error('the other process did not connect');
  await swap();
  await until(() => said.includes('over'), 'the end of the connect that waited');
  return said.split('\n')[0] ?? '';
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const findings = new Findings();
  const make = (name: string): TemplatedApp =>
    uWS
      .App()
      .get('/answer', (res) => void res.end(name))
      .any('/*', (res) => void res.end(name));
  const port = await freePort();
  let held: HttpResponse | undefined;
  let aborted = 0;
  const one = make('one').get('/held', (res) => {
    held = res;
    res.onAborted(() => void aborted++);
    res.write('x');
  });
  const first = listenShared(one, port);
  if (first === false) throw new Error('cannot listen');
  const stream = new RawClient(port).get('/held');
  await until(() => stream.receivedBytes > 0, 'the prelude');

  const two = make('two');
  const second = listenShared(two, port);
  if (second === false) throw new Error('the second cannot listen');
  await nextTurn();
  await nextTurn();
  uWS.us_listen_socket_close(first);
  const answers = new Set<string>();
  for (let at = 0; at < 40; at++) {
    const client = new RawClient(port).get('/answer');
    await until(() => /one$|two$/.test(client.text()) || client.closed, 'an answer');
    answers.add(client.error || client.text().slice(-3));
    client.destroy();
  }
  findings.add('40 connects after the change are answered by', [...answers].join(', '), 'two');
  (held as unknown as HttpResponse).cork(() => void (held as unknown as HttpResponse).write('on'));
  await until(() => stream.text().endsWith('on'), 'what the open stream is given');
  findings.add(
    'an open stream of the first: onAborted, a write',
    `${String(aborted)}, arrives`,
    '0, arrives',
  );

  // From here on both listen before the connect comes to one of them; so it is made to wait at the
  // only one, and the other joins then.
  let now = second;
  const swap = async (name: string, turns: number): Promise<void> => {
    const next = listenShared(make(name), port);
    if (next === false) throw new Error('the next cannot listen');
    for (let at = 0; at < turns; at++) await nextTurn();
    uWS.us_listen_socket_close(now);
    now = next;
  };
  findings.add(
    'a connect that waits, closed at once',
    await fateOf(port, () => swap('3rd', 0)),
    'ECONNRESET',
  );
  findings.add(
    'a connect that waits, closed in the second setImmediate',
    await fateOf(port, () => swap('4th', 2)),
    '3rd',
  );
  one.close();
  findings.add('app.close() of the first: onAborted', aborted, 1);
  const client = new RawClient(port).get('/answer');
  await until(() => client.text().endsWith('4th') || client.closed, 'an answer');
  findings.add('… and the others answer', client.text().slice(-3), '4th');
  client.destroy();

  const { stdout, signal } = await runScript(`
    import * as uWS from '${uwsPackage}';
    const app = uWS.App();
    app.listen(0, (socket) => {
      app.close();
      console.log('closed');
      setTimeout(() => { uWS.App().listen(0, (other) => console.log(other ? 'lives' : 'false')); process.exit(); }, 20);
    });
  `);
  findings.add(
    'app.close() alone closes its listening socket, too',
    stdout.trim().split('\n').join(', ') || String(signal),
    'closed, lives',
  );
  return {
    claim:
      'Two apps of a process listen on one port if both share it; when the first one’s socket closes, its streams stay and every later connect goes to the second. A connect that waits for accept is reset if it closes at once, and answered if it closes in the second setImmediate.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
