// Slow (15 s). What the 10 s timer closes: a stalled reader without progress; what it leaves: idle
// streams, and stalled ones that drained under onWritable.
import { SendLog, takenBytes } from './send-log.js';
import { RawClient, chunkWireBytes, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const observedMs = 14_500;
const noop = (): void => {};

type Line = {
  client: RawClient;
  response: HttpResponse;
  abortedAt: number;
  closedAt: number;
  writables: number;
  offered: number;
  fd: number;
};
type Reading = 'never' | 'after 1 s' | '4 KiB every 2 s' | '8 KiB every 1 s';
type Writing = 'nothing' | 'every 250 ms' | 'every 250 ms once drained' | 'end() at once';

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const start = performance.now();
  const elapsed = (): number => Math.round(performance.now() - start);
  const rows: Row[] = [];
  const piece = Buffer.alloc(8000, 97);
  const small = Buffer.alloc(100, 97);

  const taken = (line: Line): number =>
    takenBytes(log.since(0).filter((send) => send.fd === line.fd));

  /** A stream, stalled with a backlog if `reading` is given. */
  const open = async (options: {
    onWritable: boolean;
    onData?: boolean;
    reading?: Reading;
    writing?: Writing;
    kernel?: 'large';
  }): Promise<Line> => {
    // Both sizes are fixed, so that the kernel's tuning does not make room by itself.
    if (options.kernel === 'large') log.setBuffers(212_992, 65536);
    else log.setBuffers(4096, 4096);
    const mark = log.count;
    let line: Line | undefined;
    const { port } = await listen(
      uWS.App().get('/*', (response) => {
        line = { client, response, abortedAt: 0, closedAt: 0, writables: 0, offered: 0, fd: -1 };
        const held = line;
        response.onAborted(() => (held.abortedAt = elapsed()));
        if (options.onData === true) response.onData(noop);
        if (options.onWritable) {
          response.onWritable(() => {
            held.writables++;
            response.cork(noop);
            return true;
          });
        }
        response.write('x');
      }),
    );
    const stalls = options.reading !== undefined;
    const client = new RawClient(port, {
      paused: stalls,
      keep: false,
      readBytes: options.kernel === 'large' ? 8192 : 4096,
    }).get('/');
    await until(() => line !== undefined && log.count > mark, 'the prelude');
    const held = line as unknown as Line;
    held.fd = log.since(mark)[0]?.fd ?? -1;
    client.socket.on('close', () => (held.closedAt = elapsed()));
    held.offered = takenBytes(log.since(mark));
    const write = (data: Buffer): void => {
      if (held.abortedAt !== 0 || held.offered < 0) return;
      held.response.cork(() => held.response.write(data));
      held.offered += chunkWireBytes(data.length);
    };
    if (stalls) {
      // taken() walks the whole log: not at each of the corks that fill the kernel's buffer.
      let refused = 0;
      while (refused < 3) {
        write(piece);
        refused =
          log.since(log.count - 1)[0]?.result === chunkWireBytes(piece.length) ? 0 : refused + 1;
      }
    }
    if (options.writing === 'end() at once') {
      held.response.cork(() => held.response.end());
    } else if (options.writing !== undefined && options.writing !== 'nothing') {
      setInterval(() => {
        if (options.writing === 'every 250 ms' || elapsed() > 3000) write(small);
      }, 250);
    }
    if (options.reading === 'after 1 s') setTimeout(() => client.resume(), 1000);
    if (options.reading === '4 KiB every 2 s' || options.reading === '8 KiB every 1 s') {
      setInterval(() => client.readOnce(), options.kernel === 'large' ? 1000 : 2000);
    }
    return held;
  };

  const lines = {
    idle: await open({ onWritable: true }),
    withOnData: await open({ onWritable: true, onData: true }),
    stalled: await open({ onWritable: true, reading: 'never' }),
    hammered: await open({ onWritable: true, reading: 'never', writing: 'every 250 ms' }),
    slow: await open({ onWritable: true, reading: '4 KiB every 2 s' }),
    slowBehindMuch: await open({ onWritable: true, reading: '8 KiB every 1 s', kernel: 'large' }),
    recovered: await open({
      onWritable: true,
      reading: 'after 1 s',
      writing: 'every 250 ms once drained',
    }),
    recoveredUnregistered: await open({
      onWritable: false,
      reading: 'after 1 s',
      writing: 'every 250 ms once drained',
    }),
    ended: await open({ onWritable: true, writing: 'end() at once' }),
  };
  const silentPort = (
    await listen(uWS.App().any('/*', (response) => void response.onAborted(noop).onData(noop)))
  ).port;
  const silent = new RawClient(silentPort);
  let silentClosedAt = 0;
  silent.socket.on('close', () => (silentClosedAt = elapsed()));
  const bodyless = new RawClient(silentPort).get('/', 'Content-Length: 5\r\n');
  let bodylessClosedAt = 0;
  bodyless.socket.on('close', () => (bodylessClosedAt = elapsed()));
  const openedAt = elapsed();
  const hammeredBefore = lines.hammered.offered - taken(lines.hammered);
  while (elapsed() < openedAt + observedMs) await turn(50);

  const show = (name: string, closedAt: number, line?: Line): void => {
    rows.push({
      line: name,
      'closed after s':
        closedAt === 0
          ? `open at ${String(observedMs / 1000)}`
          : ((closedAt - openedAt) / 1000).toFixed(1),
      onAborted: line === undefined ? '' : line.abortedAt !== 0,
      'onWritable calls': line?.writables ?? '',
      'backlog at the end':
        line === undefined || line.closedAt !== 0 ? '' : line.offered - taken(line),
    });
  };
  const closed = (line: Line): number => line.abortedAt;
  show('idle stream', closed(lines.idle), lines.idle);
  show('idle stream, onData on its GET', closed(lines.withOnData), lines.withOnData);
  show('stalled, never reads, left alone', closed(lines.stalled), lines.stalled);
  show('stalled, never reads, written to every 250 ms', closed(lines.hammered), lines.hammered);
  show('stalled, reads 4 KiB every 2 s, left alone', closed(lines.slow), lines.slow);
  show(
    'stalled behind a send buffer of 416 KiB, reads 8 KiB a second',
    closed(lines.slowBehindMuch),
    lines.slowBehindMuch,
  );
  show('stalled 1 s, drained, onWritable, written to', closed(lines.recovered), lines.recovered);
  show(
    'stalled 1 s, drained, no onWritable, written to',
    closed(lines.recoveredUnregistered),
    lines.recoveredUnregistered,
  );
  show('ended stream, connection idle', lines.ended.closedAt, lines.ended);
  show('connected, no request', silentClosedAt);
  show('unanswered request with onData, its body missing', bodylessClosedAt);

  const timedOut = (at: number): boolean => at - openedAt > 7000 && at - openedAt < 13_500;
  const hammeredAfter = lines.hammered.offered - taken(lines.hammered);
  return {
    claim:
      'A stalled reader without progress is closed after 8–12 s, unless it is written to again and again; idle streams stay; a stall that drained stays only with onWritable registered.',
    holds:
      closed(lines.idle) === 0 &&
      closed(lines.withOnData) === 0 &&
      timedOut(closed(lines.stalled)) &&
      closed(lines.hammered) === 0 &&
      hammeredAfter > hammeredBefore + 2000 &&
      closed(lines.slow) === 0 &&
      timedOut(closed(lines.slowBehindMuch)) &&
      closed(lines.recovered) === 0 &&
      lines.recovered.offered === taken(lines.recovered) &&
      timedOut(closed(lines.recoveredUnregistered)) &&
      timedOut(lines.ended.closedAt) &&
      timedOut(silentClosedAt) &&
      timedOut(bodylessClosedAt),
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
