// What a server does that has no file left for the next connection: whether its loop rests,
// answers, and comes to rest again. The server is a child.
import { spawn } from 'node:child_process';
import { main, NotHere, RawClient, turn, until, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

const fileLimit = 60;
const connects = 80;
/** Each row is of one such span. */
const spanMs = 250;

/**
 * Prints its port, then at the end of each span: the share of it that the loop did not rest, CPU
 * ms, turns of a 20 ms timer, sockets accepted.
 */
const server = `
  const uWS = require('${uwsPackage}');
  const { performance } = require('node:perf_hooks');
  let sockets = 0;
  uWS.App().filter((response, change) => { sockets += change; }).any('/*', (response) => { response.end('ok'); }).listen(0, (socket) => console.log(uWS.us_socket_local_port(socket)));
  let turns = 0;
  setInterval(() => turns++, 20);
  let utilization = performance.eventLoopUtilization();
  let cpu = process.cpuUsage();
  setInterval(() => {
    const { user, system } = process.cpuUsage(cpu);
    console.log(JSON.stringify({ busy: performance.eventLoopUtilization(utilization).utilization, cpuMs: (user + system) / 1000, turns, sockets }));
    utilization = performance.eventLoopUtilization();
    cpu = process.cpuUsage();
    turns = 0;
  }, ${String(spanMs)});
`;

type Span = { busy: number; cpuMs: number; turns: number; sockets: number };

export async function probe(): Promise<ProbeResult> {
  if (process.platform !== 'linux') throw new NotHere('Linux');
  const child = spawn(
    'sh',
    ['-c', `ulimit -n ${String(fileLimit)} && exec "$0" -e "$1"`, process.execPath, server],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let printed = '';
  child.stdout.on('data', (data: Buffer) => (printed += data.toString()));
  await until(() => printed.includes('\n'), 'the port');
  const port = Number(printed.split('\n')[0]);
  const spans = (): Span[] =>
    printed
      .split('\n')
      .slice(1, -1)
      .map((line) => JSON.parse(line) as Span);
  /** The second span from now: all of it is what it is now. */
  const nextSpan = async (): Promise<Span> => {
    const seen = spans().length;
    await until(() => spans().length >= seen + 2, 'a span');
    return spans()[seen + 1] as Span;
  };
  const rows: Row[] = [];
  const add = (what: string, { busy, cpuMs, turns, sockets }: Span): void => {
    rows.push({
      server: what,
      'sockets accepted': sockets,
      'loop not at rest': `${String(Math.round(busy * 100))} %`,
      [`CPU in ${String(spanMs)} ms`]: `${String(Math.round(cpuMs))} ms`,
      [`turns of a 20 ms timer`]: turns,
    });
  };

  const before = await nextSpan();
  add('no connection', before);
  const clients = Array.from({ length: connects }, () => new RawClient(port));
  await until(() => (spans().at(-1)?.sockets ?? 0) > 10, 'sockets to be accepted');
  const full = await nextSpan();
  add(`${String(connects)} connects, ${String(fileLimit)} files`, full);
  const [first] = clients;
  first?.get('/');
  await until(() => first?.text().endsWith('ok') === true, 'an answer while the queue waits');
  const leaving = clients.slice(1, 1 + connects - full.sockets);
  for (const client of leaving) client.destroy();
  await until(
    () => (spans().at(-1)?.sockets ?? 0) === connects - leaving.length,
    'those who waited to be accepted',
  );
  const after = await nextSpan();
  add(`${String(leaving.length)} of those accepted have left`, after);
  child.kill();
  for (const client of clients) client.destroy();
  await turn();
  return {
    claim:
      'Without a file descriptor for the next connection the loop never sleeps: it takes a whole core while one waits, until a descriptor is free. It still answers and runs timers.',
    holds:
      before.busy < 0.5 &&
      full.busy > 0.8 &&
      full.sockets < fileLimit &&
      full.turns > 0 &&
      after.busy < 0.5 &&
      after.sockets === connects - leaving.length,
    rows,
  };
}

await main(import.meta.url, probe);
