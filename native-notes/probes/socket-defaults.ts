// Which options an accepted socket has when nobody sets any, and whether a timer of the kernel runs
// for an idle stream. Through getsockopt() of libc.
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { Findings, NotHere, RawClient, listen, main, uWS, until } from './support.js';
import type { ProbeResult } from './support.js';

/** Options of type int, with their numbers from Linux' include/uapi. */
const options: [name: string, level: number, option: number, wanted: number][] = [
  ['SO_KEEPALIVE', 1, 9, 0],
  ['TCP_NODELAY', 6, 1, 1],
  ['TCP_USER_TIMEOUT', 6, 18, 0],
];

type Getsockopt = (descriptor: number, level: number, option: number) => number;

/** koffi is an optional dependency. */
async function loadGetsockopt(): Promise<Getsockopt> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const { default: koffi } = await import('koffi').catch(() => {
    throw new NotHere('koffi, to call getsockopt()');
  });
  const call = koffi
    .load(null)
    .func('int getsockopt(int, int, int, _Out_ int *, _Inout_ uint32_t *)');
  return (descriptor, level, option) => {
    const value = [-1];
    if (call(descriptor, level, option, value, [4]) !== 0)
      throw new Error(`getsockopt: errno ${String(koffi.errno())}`);
    return value[0] ?? -1;
  };
}

type TcpRow = { local: string; remote: string; state: string; timer: string; inode: string };

function tcpRows(): TcpRow[] {
  const lines = ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1),
  );
  return lines.map((line) => {
    const [, local = '', remote = '', state = '', , timer = '', , , , inode = ''] = line
      .trim()
      .split(/\s+/);
    return { local, remote, state, timer: timer.slice(0, 2), inode };
  });
}

const endsWithPort = (address: string, port: number): boolean =>
  address.endsWith(`:${port.toString(16).toUpperCase().padStart(4, '0')}`);

function descriptorOf(inode: string): number {
  const found = readdirSync('/proc/self/fd').find((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === `socket:[${inode}]`;
    } catch {
      return false;
    }
  });
  if (found === undefined) throw new Error(`no descriptor for inode ${inode}`);
  return Number(found);
}

export async function probe(): Promise<ProbeResult> {
  const getsockopt = await loadGetsockopt();
  const findings = new Findings();
  const { port } = await listen(
    uWS.App().get('/*', (response) => {
      response.onAborted(() => {});
      response.write('x');
    }),
  );
  const client = new RawClient(port).get('/');
  await until(() => client.receivedBytes > 0, 'the prelude');
  // The server's end: its local port is the server's, and the client has acknowledged everything.
  const accepted = (): TcpRow | undefined =>
    tcpRows().find(({ local, state }) => endsWithPort(local, port) && state === '01');
  await until(() => accepted()?.timer === '00', 'the kernel to wait for nothing');
  const descriptor = descriptorOf(accepted()?.inode ?? '');
  for (const [name, level, option, wanted] of options) {
    findings.add(`accepted socket: ${name}`, getsockopt(descriptor, level, option), wanted);
  }
  findings.add(
    'timer of an idle stream in /proc/net/tcp (00 none, 01 retransmit, 02 keepalive)',
    accepted()?.timer ?? '',
    '00',
  );
  client.destroy();
  return {
    claim:
      'Accepted sockets have TCP_NODELAY and nothing else: no keepalive, no user timeout; no timer of the kernel runs for an idle stream, so that a peer that vanished is not noticed before something is written.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
