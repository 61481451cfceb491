// What listens for each kind of host: when listen() answers, the table of /proc/net with its row,
// and who reaches it.
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { NotHere, listenAlone, main, uWS } from './support.js';
import type { ProbeResult, Row } from './support.js';

/**
 * The table with the listening row, and the addresses of this machine that reach it; no table where
 * listen() must answer false.
 */
const cases: [host: string, tables: string, reachedFrom: string][] = [
  ['127.0.0.1', 'tcp', '127.0.0.1'],
  ['0.0.0.0', 'tcp', '127.0.0.1'],
  ['::1', 'tcp6', '::1'],
  ['::', 'tcp6', '127.0.0.1, ::1'],
  ['127.0.0.77', 'tcp', ''],
  ['192.0.2.1', '', ''],
  ['[::1]', '', ''],
];

function tablesWith(port: number): string {
  const listening = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `);
  return ['tcp', 'tcp6']
    .filter((table) => listening.test(readFileSync(`/proc/net/${table}`, 'utf8')))
    .join(', ');
}

async function isReached(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Listens on a free port of the host; the row of the table. */
async function listenOn(host: string): Promise<Row> {
  const app = uWS.App();
  const answer = listenAlone(app, host, 0);
  const port = answer === undefined || answer === false ? 0 : uWS.us_socket_local_port(answer);
  const from: string[] = [];
  for (const address of ['127.0.0.1', '::1'])
    if (port > 0 && (await isReached(address, port))) from.push(address);
  const row: Row = {
    host: JSON.stringify(host),
    'listen() answered inside the call':
      answer === undefined ? 'not yet' : answer === false ? 'false' : 'a socket',
    'listens in /proc/net': port > 0 ? tablesWith(port) : '',
    'reached from': from.join(', '),
  };
  app.close();
  return row;
}

export async function probe(): Promise<ProbeResult> {
  if (!existsSync('/proc/net/tcp') || !existsSync('/proc/net/if_inet6'))
    throw new NotHere('Linux with IPv6');
  const rows: Row[] = [];
  let holds = true;
  for (const [host, tables, reachedFrom] of cases) {
    const row = await listenOn(host);
    rows.push(row);
    holds &&=
      row['listen() answered inside the call'] === (tables === '' ? 'false' : 'a socket') &&
      row['listens in /proc/net'] === tables &&
      row['reached from'] === reachedFrom;
  }
  // Which of the two it is depends on the machine's names; that it is one of them does not.
  const local = await listenOn('localhost');
  rows.push(local);
  holds &&=
    /^tcp6?$/.test(String(local['listens in /proc/net'])) &&
    !String(local['reached from']).includes(',');
  return {
    claim:
      'listen() resolves the host and calls back inside the call, with one socket at one address: the first of a name; :: accepts IPv4 too (its rows are in tcp6); a foreign address or [::1] gives false.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
