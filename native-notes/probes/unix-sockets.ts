// What listen_unix does to the path, its file and its mode, and what is known of a client.
import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Findings, main, NotHere, until, uWS } from './support.js';
import type { ProbeResult, TemplatedApp } from './support.js';

type Socket = Parameters<typeof uWS.us_listen_socket_close>[0];

const folder = mkdtempSync(join(tmpdir(), 'holdline-probe-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function listenUnix(app: TemplatedApp, path: string): Socket | false | undefined {
  let opened: Socket | false | undefined;
  // The callback comes first; false is not in the types.
  app.listen_unix((socket: Socket | false) => {
    opened = socket;
  }, path);
  return opened;
}

async function ask(path: string): Promise<string> {
  const socket = connect(path);
  let text = '';
  let isOver = false;
  socket.on('connect', () => socket.write('GET / HTTP/1.1\r\nHost: probe\r\n\r\n'));
  socket.on('data', (data: Buffer) => (text += data.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => (text = error.code ?? ''));
  socket.on('close', () => (isOver = true));
  await until(() => isOver || /one$|two$/.test(text), 'an answer');
  socket.destroy();
  return text.slice(-12).split('\n').at(-1) ?? '';
}

export async function probe(): Promise<ProbeResult> {
  if (process.platform === 'win32') throw new NotHere('unix sockets');
  const findings = new Findings();
  const path = join(folder, 's.sock');
  let address = -1;
  let filtered = -1;
  const make = (name: string): TemplatedApp =>
    uWS
      .App()
      .filter((res, change) => {
        if ((change as number) > 0) filtered = res.getRemoteAddress().byteLength;
      })
      .get('/*', (res) => {
        address = res.getRemoteAddressAsText().byteLength;
        res.end(name);
      });
  const one = listenUnix(make('one'), path);
  findings.add(
    'listen_unix',
    one ? 'a socket, inside the call' : String(one),
    'a socket, inside the call',
  );
  findings.add('its port', uWS.us_socket_local_port(one as Socket), -1);
  findings.add('mode of the file', (lstatSync(path).mode & 0o777).toString(8), '700');
  findings.add('a request', await ask(path), 'one');
  findings.add(
    'bytes of the client’s address, in the filter and as text',
    `${String(filtered)}, ${String(address)}`,
    '0, 0',
  );
  const two = listenUnix(make('two'), path);
  findings.add(
    'a second one on the path of the first, which runs',
    `${two ? 'a socket' : String(two)}; answered by ${await ask(path)}`,
    'a socket; answered by two',
  );
  uWS.us_listen_socket_close(two as Socket);
  findings.add('the file, when the socket is closed', existsSync(path) ? 'stays' : 'gone', 'stays');
  findings.add('a connect then', await ask(path), 'ECONNREFUSED');
  rmSync(path);
  writeFileSync(path, 'a file');
  const over = listenUnix(make('one'), path);
  findings.add(
    'on the path of a plain file',
    `${over ? 'a socket' : String(over)}; the file is ${lstatSync(path).isSocket() ? 'gone' : 'there'}`,
    'a socket; the file is gone',
  );
  findings.add(
    'in a folder that is not there',
    listenUnix(make('one'), join(folder, 'none', 's.sock')) ? 'a socket' : 'false',
    'false',
  );
  const long = join(folder, 'x'.repeat(107 - folder.length - 1));
  findings.add(
    'on a path of 107 bytes',
    listenUnix(make('one'), long) ? 'a socket' : 'false',
    'a socket',
  );
  findings.add('of 109', listenUnix(make('one'), `${long}xx`) ? 'a socket' : 'false', 'false');
  return {
    claim:
      'listen_unix takes any path over without a word, that of a running server or of a plain file, too; the file has mode 700 and stays when the socket closes; clients have an empty address, and the socket no port.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
