// Slow (27 s). When pings go out, when a mute, a stalled and an ended peer is closed, what resets
// the timer, and which values abort.
import { SendLog } from './send-log.js';
import {
  afterHead,
  clientFrame,
  describeFrames,
  listen,
  main,
  RawClient,
  runScript,
  turn,
  until,
  upgrade,
  upgradeHeaders,
  uWS,
  uwsPackage,
} from './support.js';
import type { ProbeResult, Row, WebSocket } from './support.js';

/**
 * A timer counts the loop's ticks of 4 s, the one that is under way too: it fires up to so much
 * early.
 */
const tickSeconds = 4;
const slackSeconds = 0.7;
const wrong = ' (NOT as the note says)';

type Peer =
  | 'mute'
  | 'answers pings'
  | 'sends every 3 s'
  | 'never reads'
  | 'reads 4 KiB every 2 s'
  | 'mute, and is ended in ws.cork()';
type Case = {
  idleTimeout: number;
  peer: Peer;
  /** We send to it this often. */
  writeEveryMs?: number;
  pings?: boolean;
  /**
   * The seconds after opening that the first ping and the close belong to, before the ticks;
   * undefined: never.
   */
  pingAt?: number;
  closedAt?: number;
};

const cases: Case[] = [
  { idleTimeout: 8, peer: 'mute', pingAt: 4, closedAt: 8 },
  { idleTimeout: 12, peer: 'mute', pingAt: 8, closedAt: 12 },
  { idleTimeout: 16, peer: 'mute', pingAt: 8, closedAt: 16 },
  { idleTimeout: 22, peer: 'mute', pingAt: 16, closedAt: 24 },
  { idleTimeout: 24, peer: 'mute', pingAt: 16, closedAt: 24 },
  { idleTimeout: 40, peer: 'mute', pingAt: 24 },
  { idleTimeout: 16, peer: 'mute', pings: false, closedAt: 16 },
  { idleTimeout: 16, peer: 'mute', writeEveryMs: 1000, pingAt: 8, closedAt: 16 },
  { idleTimeout: 16, peer: 'answers pings', pingAt: 8 },
  { idleTimeout: 16, peer: 'sends every 3 s' },
  { idleTimeout: 16, peer: 'never reads', closedAt: 16 },
  { idleTimeout: 16, peer: 'never reads', writeEveryMs: 1000, closedAt: 16 },
  { idleTimeout: 16, peer: 'reads 4 KiB every 2 s' },
  { idleTimeout: 16, peer: 'mute, and is ended in ws.cork()', closedAt: 8 },
  { idleTimeout: 0, peer: 'mute' },
  { idleTimeout: 0, peer: 'never reads' },
];

type Line = Case & { openedAt: number; pingsAfter: number[]; closedAfter?: number; reason: string };

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  log.setBuffers(4096, 4096);
  const elapsed = (): number => performance.now() / 1000;

  const open = async (one: Case): Promise<Line> => {
    let ws: WebSocket<object> | undefined;
    const stalls = one.peer === 'never reads' || one.peer === 'reads 4 KiB every 2 s';
    const line: Line = { ...one, openedAt: elapsed(), pingsAfter: [], reason: '' };
    const { port } = await listen(
      uWS.App().ws<object>('/*', {
        idleTimeout: one.idleTimeout,
        sendPingsAutomatically: one.pings ?? true,
        maxBackpressure: 0,
        upgrade: (response, request, context) => upgrade(response, request, context, {}),
        open: (opened) => void (ws = opened),
        close: (_ws, code, message) => {
          ws = undefined;
          line.reason = `${String(code)} ${Buffer.from(message).toString()}`;
          if (one.peer !== 'mute, and is ended in ws.cork()')
            line.closedAfter = elapsed() - line.openedAt;
        },
      }),
    );
    const client = new RawClient(port, { readBytes: 4096 }).get('/', upgradeHeaders);
    await until(() => ws !== undefined && client.receivedBytes > 0, 'the ws');
    line.openedAt = elapsed();
    client.socket.on('close', () => (line.closedAfter ??= elapsed() - line.openedAt));
    if (stalls) {
      client.pause();
      while (ws !== undefined && ws.getBufferedAmount() < 20_000) ws.send('a'.repeat(4000));
    } else {
      let seen = 0;
      setInterval(() => {
        const count = describeFrames(afterHead(client)).split('ping').length - 1;
        if (count === seen) return;
        seen = count;
        line.pingsAfter.push(elapsed() - line.openedAt);
        if (one.peer === 'answers pings') client.send(clientFrame(0x8a, ''));
      }, 50);
    }
    if (one.peer === 'reads 4 KiB every 2 s') setInterval(() => client.readOnce(), 2000);
    if (one.peer === 'sends every 3 s')
      setInterval(() => client.send(clientFrame(0x81, 'x')), 3000);
    if (one.writeEveryMs !== undefined) setInterval(() => ws?.send('x'), one.writeEveryMs);
    if (one.peer === 'mute, and is ended in ws.cork()') ws?.cork(() => ws?.end(1000));
    return line;
  };
  const start = elapsed();
  const lines: Line[] = [];
  for (const one of cases) lines.push(await open(one));
  // Again between two ticks.
  await turn(2000);
  for (const one of cases) lines.push(await open(one));
  while (elapsed() < start + 26.7) await turn(50);

  const within = (seconds: number | undefined, wanted: number | undefined): boolean =>
    wanted === undefined
      ? seconds === undefined
      : seconds !== undefined &&
        seconds > wanted - tickSeconds - slackSeconds &&
        seconds < wanted + slackSeconds;
  const show = (seconds: (number | undefined)[]): string =>
    seconds.map((value) => (value === undefined ? 'no' : value.toFixed(1))).join(', ');
  let holds = true;
  const rows: Row[] = cases.map((one, at) => {
    const both = [lines[at] as Line, lines[at + cases.length] as Line];
    const right = both.every(
      (line) => within(line.pingsAfter[0], one.pingAt) && within(line.closedAfter, one.closedAt),
    );
    holds &&= right;
    return {
      idleTimeout: one.idleTimeout,
      peer: [
        one.peer,
        one.writeEveryMs === undefined ? '' : ', written to every second',
        one.pings === false ? ', no pings' : '',
        right ? '' : wrong,
      ].join(''),
      'first ping after s': show(both.map((line) => line.pingsAfter[0])),
      'closed after s': show(both.map((line) => line.closedAfter)),
      'close handler': both[0]?.reason ?? '',
    };
  });

  for (const [idleTimeout, lives] of [
    [0, true],
    [7, false],
    [8, true],
    [960, true],
    [961, false],
  ] as const) {
    const { signal } = await runScript(
      `import * as uWS from '${uwsPackage}'; uWS.App().ws('/*', { idleTimeout: ${String(idleTimeout)} }); process.exit(0);`,
    );
    const right = (signal === null) === lives;
    holds &&= right;
    rows.push({
      idleTimeout,
      peer: `app.ws() with it: ${signal === null ? 'accepted' : signal}${right ? '' : wrong}`,
    });
  }
  return {
    claim:
      'A peer that sends nothing is pinged 4, 8 or 16 s before idleTimeout and closed at it, stalled or not, up to 4 s early; our sends reset nothing; other values than 0 and 8–960 abort.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
