// How many connects the kernel completes for a server whose loop stands still, and what becomes of
// them and of the rest when it goes on.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { main, NotHere, RawClient, turn, until, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

const connects = 700;
const backlog = 512;

/** A server whose loop stands still from a request for /still until its stdin has a byte. */
const server = `
  const uWS = require('${uwsPackage}');
  const { readSync } = require('node:fs');
  uWS.App().get('/still', (response) => {
    response.onAborted(() => {});
    response.end('still');
    setImmediate(() => readSync(0, Buffer.alloc(1)));
  }).get('/*', (response) => { response.onAborted(() => {}); response.end('ok'); }).listen(0, (socket) => console.log(uWS.us_socket_local_port(socket)));
`;

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const somaxconn = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
  const queued = Math.min(backlog, somaxconn) + 1;
  const child = spawn(process.execPath, ['-e', server], { stdio: ['pipe', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve) => {
    child.stdout.once('data', (data: Buffer) => resolve(Number(data.toString())));
  });
  const still = new RawClient(port).get('/still');
  await until(() => still.text().endsWith('still'), 'the server to stand still');
  let connected = 0;
  const clients = Array.from({ length: connects }, () => {
    const client = new RawClient(port).get('/');
    client.socket.once('connect', () => connected++);
    return client;
  });
  await until(() => connected >= queued, 'the queue to be full');
  // Whoever was not let in by then tries again a second after its first SYN.
  for (let at = 0; at < 200; at++) await turn();
  const whileStill = connected;
  const answeredWhileStill = clients.filter((client) => client.receivedBytes > 0).length;
  child.stdin.write('\n');
  await until(
    () => clients.every((client) => client.text().endsWith('ok') || client.closed),
    'every answer',
  );
  const rows: Row[] = [
    { what: 'connects at once, to a server that stands still', seen: connects },
    { what: 'net.core.somaxconn', seen: somaxconn },
    { what: 'completed by the kernel while it stands still', seen: whileStill },
    { what: '… of those answered', seen: answeredWhileStill },
    {
      what: 'answered when it goes on',
      seen: clients.filter((client) => client.text().endsWith('ok')).length,
    },
    { what: 'refused or reset', seen: clients.filter((client) => client.error !== '').length },
  ];
  child.kill();
  for (const client of clients) client.destroy();
  return {
    claim:
      'The backlog is 512: while the loop is blocked the kernel completes 513 connects (fewer if net.core.somaxconn is lower); the rest retry a second later, and none is refused.',
    holds:
      whileStill === queued &&
      answeredWhileStill === 0 &&
      rows[4]?.['seen'] === connects &&
      rows[5]?.['seen'] === 0,
    rows,
  };
}

await main(import.meta.url, probe);
