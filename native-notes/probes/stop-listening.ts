// What us_listen_socket_close() does to open streams, to a connect that waits and to new ones;
// app.close() after it; and who may have the port then.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import {
  Findings,
  listenAlone,
  main,
  NotHere,
  RawClient,
  runScript,
  turn,
  until,
  uWS,
  uwsPackage,
} from './support.js';
import type { HttpResponse, ProbeResult } from './support.js';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => void server.close(resolve));
  return port;
}

/**
 * Connections to the port that the kernel has completed and nobody has accepted: the receive queue
 * of its listening row.
 */
function waitingOn(port: number): number {
  const listening = new RegExp(
    `:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A \\w+:(\\w+)`,
  );
  return Number.parseInt(listening.exec(readFileSync('/proc/net/tcp', 'utf8'))?.[1] ?? '0', 16);
}

/** Rows of connections at the port that are over and kept for their time: this side closed them. */
function timeWaitsOn(port: number): number {
  const rows = new RegExp(
    `^ *\\d+: \\w+:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 06 `,
    'gm',
  );
  return readFileSync('/proc/net/tcp', 'utf8').match(rows)?.length ?? 0;
}

/** Connects, asks, and prints what became of it. */
const asking = (port: number): string => `
  const socket = require('node:net').connect(${String(port)}, '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
  let bytes = 0;
  socket.on('data', (data) => { bytes += data.length; }).on('error', (error) => console.log(error.code)).on('close', () => console.log(bytes + ' bytes'));
`;

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const findings = new Findings();
  let response: HttpResponse | undefined;
  let aborted = 0;
  const make = (): ReturnType<typeof uWS.App> =>
    uWS.App().get('/*', (res) => {
      response = res;
      res.onAborted(() => void aborted++);
      res.write('x');
    });
  const port = await freePort();
  const app = make();
  const socket = listenAlone(app, '127.0.0.1', port);
  if (!socket) throw new Error(`cannot listen on ${String(port)}`);
  const client = new RawClient(port).get('/');
  await until(() => client.receivedBytes > 0, 'the prelude');
  const res = response as unknown as HttpResponse;

  // This loop stands still until the kernel has completed the connect of another process, which
  // nobody can have accepted then.
  const waiting = spawn(process.execPath, ['-e', asking(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let fate = '';
  waiting.stdout.on('data', (data: Buffer) => (fate += data.toString()));
  const end = performance.now() + 10_000;
  while (waitingOn(port) === 0)
    if (performance.now() > end) throw new Error('the other process did not connect');
  uWS.us_listen_socket_close(socket);
  await until(() => fate.includes('bytes'), 'the end of the connect that waited');
  findings.add(
    'a connect that the kernel had completed, not accepted yet',
    fate.trim().replace('\n', ', '),
    'ECONNRESET, 0 bytes',
  );
  const late = new RawClient(port).get('/');
  await until(() => late.closed, 'the late connect');
  findings.add('a connect after it', late.error, 'ECONNREFUSED');
  res.cork(() => void res.write('still'));
  await until(() => client.text().endsWith('still'), 'what the open stream is given');
  findings.add(
    'a stream that was open: onAborted, what it is written',
    `${String(aborted)}, arrives`,
    '0, arrives',
  );

  // Whoever comes next has the port at once: beside open streams, and beside what app.close()
  // leaves behind.
  const next = make();
  const nextSocket = listenAlone(next, '127.0.0.1', port);
  findings.add(
    'the same port for the next server, streams open',
    nextSocket ? 'a socket' : 'false',
    'a socket',
  );
  app.close();
  findings.add('app.close(): onAborted inside the call', aborted, 1);
  if (nextSocket) uWS.us_listen_socket_close(nextSocket);
  await until(() => client.closed && timeWaitsOn(port) > 0, 'the connection to be in TIME_WAIT');
  const again = listenAlone(next, '127.0.0.1', port);
  findings.add('the same port, connections in TIME_WAIT', again ? 'a socket' : 'false', 'a socket');
  if (again) uWS.us_listen_socket_close(again);

  // A port that the kernel chose.
  const chosen = make();
  const chosenSocket = listenAlone(chosen, '127.0.0.1', 0);
  if (!chosenSocket) throw new Error('cannot listen');
  const chosenPort = uWS.us_socket_local_port(chosenSocket);
  const last = new RawClient(chosenPort).get('/');
  await until(() => last.receivedBytes > 0, 'the prelude');
  chosen.close();
  await until(
    () => last.closed && timeWaitsOn(chosenPort) > 0,
    'the connection to be in TIME_WAIT',
  );
  findings.add(
    'the same for a port that came by 0',
    listenAlone(make(), '127.0.0.1', chosenPort) ? 'a socket' : 'false',
    'false',
  );

  const { stdout, signal } = await runScript(`
    import * as uWS from '${uwsPackage}';
    const app = uWS.App();
    app.listen(0, (socket) => {
      uWS.us_listen_socket_close(socket);
      app.close();
      app.close();
      console.log('lives');
    });
  `);
  findings.add('app.close() twice after it', stdout.trim() || String(signal), 'lives');
  await turn();
  return {
    claim:
      'us_listen_socket_close() refuses new connects and resets those in the queue; open streams go on until app.close(). The port is free for the next server at once if it was given by number, but not if the system chose it (port 0).',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
