// Which options of the listening socket, set after listen(), an accepted one inherits, and what is
// read back. Through getsockopt() of libc.
import { readdirSync, readlinkSync } from 'node:fs';
import { loadLibc, type Libc } from '../../src/native/libc.js';
import { descriptorOf, listenerInodes } from '../../src/linux/sockets.js';
import { Findings, NotHere, RawClient, listen, main, uWS, until } from './support.js';
import type { ProbeResult } from './support.js';

/** Options of type int, with their numbers from Linux' include/uapi; buffers are doubled. */
const options: [name: string, level: number, option: number, value: number, read: number][] = [
  ['SO_SNDBUF', 1, 7, 16_384, 32_768],
  ['SO_RCVBUF', 1, 8, 20_480, 40_960],
  ['TCP_NOTSENT_LOWAT', 6, 25, 12_345, 12_345],
  ['TCP_USER_TIMEOUT', 6, 18, 21_000, 21_000],
  ['SO_KEEPALIVE', 1, 9, 1, 1],
  ['TCP_KEEPIDLE', 6, 4, 21, 21],
  ['TCP_KEEPINTVL', 6, 5, 6, 6],
  ['TCP_KEEPCNT', 6, 6, 1, 1],
];

async function libcOrSkip(): Promise<Libc> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  return loadLibc().catch(() => {
    throw new NotHere('koffi, to call setsockopt()');
  });
}

/** The sockets of this process: descriptors by name, since a number may be given again. */
function sockets(): Map<string, number> {
  const found = new Map<string, number>();
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      const name = readlinkSync(`/proc/self/fd/${descriptor}`);
      if (name.startsWith('socket:')) found.set(name, Number(descriptor));
    } catch {
      // It was the one that the folder was read by.
    }
  }
  return found;
}

export async function probe(): Promise<ProbeResult> {
  const libc = await libcOrSkip();
  const findings = new Findings();
  const { port } = await listen(
    uWS.App().get('/*', (response) => {
      response.onAborted(() => {});
      response.write('x');
    }),
  );
  /**
   * A client, and the descriptor of what was accepted for it: of the two new ones not the client's.
   */
  const connect = async (): Promise<{ client: RawClient; accepted: number }> => {
    const before = sockets();
    const client = new RawClient(port).get('/');
    await until(() => client.receivedBytes > 0, 'the prelude');
    const opened = [...sockets()].filter(([name]) => !before.has(name));
    if (opened.length !== 2) throw new Error(`${String(opened.length)} sockets for one connection`);
    const { fd } = Reflect.get(client.socket, '_handle') as { fd: number };
    const accepted = opened.map(([, descriptor]) => descriptor).find((one) => one !== fd);
    if (accepted === undefined) throw new Error('two sockets for the client');
    return { client, accepted };
  };

  const early = await connect();
  const listening = descriptorOf(listenerInodes(port));
  if (listening === undefined) throw new Error('/proc does not show the listening socket');
  const before = options.map(([, level, option]) => libc.get(early.accepted, level, option));
  for (const [name, level, option, value] of options) {
    findings.add(
      `setsockopt ${name} = ${String(value)} on the listening socket: errno`,
      libc.set(listening, level, option, value),
      0,
    );
  }
  const late = await connect();
  for (const [name, level, option, , read] of options) {
    findings.add(
      `${name} of the listening socket`,
      libc.get(listening, level, option) ?? 'nothing',
      read,
    );
    findings.add(
      `${name} of what it then accepts`,
      libc.get(late.accepted, level, option) ?? 'nothing',
      read,
    );
  }
  const changed = options.filter(
    ([, level, option], i) => libc.get(early.accepted, level, option) !== before[i],
  );
  findings.add('options of what it had accepted before that have changed', changed.length, 0);
  for (const { client } of [early, late]) client.destroy();
  return {
    claim:
      'What a listening socket accepts inherits its SO_SNDBUF, SO_RCVBUF, TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT and keepalive, also if they were set after listen(); sockets accepted before keep theirs; buffers are read back doubled.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
