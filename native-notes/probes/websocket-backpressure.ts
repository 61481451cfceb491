// When a WebSocket message is dropped for maxBackpressure, what tells it, and what ws.end() over
// the limit loses.
import { SendLog } from './send-log.js';
import {
  RawClient,
  afterHead,
  clientFrame,
  describeFrames,
  listen,
  main,
  uWS,
  until,
  upgrade,
  upgradeHeaders,
} from './support.js';
import type { ProbeResult, Row, WebSocket } from './support.js';

const limit = 10_000;

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  let holds = true;
  let pinged = 0;

  type Opened = { client: RawClient; ws: WebSocket<object>; events: string[] };
  const open = async (settings: {
    maxBackpressure?: number;
    closeOnBackpressureLimit?: boolean;
  }): Promise<Opened> => {
    const events: string[] = [];
    let ws: WebSocket<object> | undefined;
    const { port } = await listen(
      uWS.App().ws<object>('/*', {
        ...settings,
        idleTimeout: 0,
        upgrade: (response, request, context) => upgrade(response, request, context, {}),
        open: (opened) => void (ws = opened),
        ping: () => void pinged++,
        dropped: (_ws, message, isBinary) =>
          void events.push(`dropped(${String(message.byteLength)} B, ${String(isBinary)})`),
        close: (_ws, code) => void events.push(`close(${String(code)})`),
      }),
    );
    const client = new RawClient(port).get('/', upgradeHeaders);
    await until(() => ws !== undefined && client.receivedBytes > 0, 'the ws');
    return { client, ws: ws as unknown as WebSocket<object>, events };
  };

  /** Sends with the kernel refusing everything: all stays in user space. */
  const over = (ws: WebSocket<object>, buffered: number): void => {
    log.setBudget(0);
    // A frame of up to 65,535 B has a head of 4.
    ws.send(Buffer.alloc(buffered - 4, 97));
  };

  const pings = Buffer.concat(
    Array.from({ length: 400 }, () => clientFrame(0x89, 'p'.repeat(125))),
  );

  // 1. The rule.
  for (const [maxBackpressure, buffered, messageBytes, answer] of [
    [limit, limit, 1, 0],
    [limit, limit, 50_000, 0],
    [limit, limit + 1, 1, 2],
    [undefined, 65_536, 1, 0],
    [undefined, 65_537, 1, 2],
    [0, 500_000, 50_000, 0],
  ] as const) {
    const { client, ws, events } = await open(
      maxBackpressure === undefined ? {} : { maxBackpressure },
    );
    over(ws, Math.min(buffered, 60_000));
    // Frames of 60,000 B and a rest, none of them over the limit before its own send.
    for (let left = buffered - 60_000; left > 0; left -= 60_000)
      ws.send(Buffer.alloc(Math.max(0, Math.min(left, 60_000) - 4), 97));
    const before = ws.getBufferedAmount();
    const answered = ws.send(Buffer.alloc(messageBytes, 98), true);
    const after = ws.getBufferedAmount();
    const inside = events.join();
    rows.push({
      maxBackpressure: maxBackpressure ?? 'not given',
      'buffered before': before,
      step: `send(${String(messageBytes)} B)`,
      answered,
      'buffered after': after,
      events: inside,
    });
    holds &&=
      answered === answer &&
      after === (answer === 2 ? before : before + messageBytes + (messageBytes < 126 ? 2 : 4));
    holds &&= inside === (answer === 2 ? 'dropped(1 B, true)' : '');
    if (answer === 2) {
      const ping = ws.ping('p');
      rows.push({
        maxBackpressure: maxBackpressure ?? 'not given',
        'buffered before': after,
        step: 'ping(1 B)',
        answered: ping,
        'buffered after': ws.getBufferedAmount(),
      });
      holds &&= ping === 2;
    }
    log.setBudget(-1);
    client.destroy();
  }

  // 2. In a cork, where only what does not fit the cork buffer counts.
  {
    const { client, ws } = await open({ maxBackpressure: limit });
    log.setBudget(0);
    const answers: number[] = [];
    ws.cork(() => {
      for (let at = 0; at < 4; at++) answers.push(ws.send(Buffer.alloc(9000, 97)));
    });
    rows.push({
      maxBackpressure: limit,
      'buffered before': 0,
      step: 'four send(9,000 B) in ws.cork()',
      answered: answers.join(' '),
      'buffered after': ws.getBufferedAmount(),
    });
    holds &&= answers.join() === '1,0,2,2';
    log.setBudget(-1);
    client.destroy();
  }

  // 3. closeOnBackpressureLimit.
  {
    const { client, ws, events } = await open({
      maxBackpressure: limit,
      closeOnBackpressureLimit: true,
    });
    over(ws, limit + 1);
    const answered = ws.send('x');
    const inside = events.join();
    log.setBudget(-1);
    await until(() => client.closed && events.length > 1, 'the close');
    rows.push({
      maxBackpressure: `${String(limit)}, closeOnBackpressureLimit`,
      'buffered before': limit + 1,
      step: 'send(1 B)',
      answered,
      events: `${inside}; a later turn: ${events.slice(1).join()}`,
    });
    holds &&= answered === 2 && inside === 'dropped(1 B, false)' && events.at(-1) === 'close(1006)';
  }

  {
    const { client, events } = await open({
      maxBackpressure: limit,
      closeOnBackpressureLimit: true,
    });
    log.setBudget(0);
    client.send(pings);
    await until(() => events.includes('close(1006)'), 'the close');
    log.setBudget(-1);
    const isDropped = events[0]?.startsWith('dropped') === true;
    rows.push({
      maxBackpressure: `${String(limit)}, closeOnBackpressureLimit`,
      'buffered before': 0,
      step: '400 pings of 125 B come',
      events: `${isDropped ? 'dropped pongs' : events.join()}; a later turn: ${String(events.at(-1))}`,
    });
    holds &&= isDropped;
    client.destroy();
  }

  // 4. A peer that pings and does not read: the native pongs are buffered, and reset the idle
  // timeout.
  for (const maxBackpressure of [limit, 0]) {
    const { client, ws, events } = await open({ maxBackpressure });
    log.setBudget(0);
    client.send(pings);
    pinged = 0;
    await until(() => pinged === 400, 'the pings');
    const answered = ws.send('x');
    const dropped = events.length - (answered === 2 ? 1 : 0);
    rows.push({
      maxBackpressure,
      'buffered before': 0,
      step: '400 pings of 125 B come, then send(1 B)',
      answered,
      'buffered after': ws.getBufferedAmount(),
      events: `dropped ${String(dropped)} pongs`,
    });
    holds &&=
      maxBackpressure === 0
        ? answered === 0 && dropped === 0
        : answered === 2 && dropped > 0 && ws.getBufferedAmount() < limit + 16_384 + 127;
    log.setBudget(-1);
    client.destroy();
  }

  // 5. end() within and over the limit.
  for (const buffered of [limit, limit + 1]) {
    const { client, ws, events } = await open({ maxBackpressure: limit });
    over(ws, buffered);
    ws.end(1013, 'slow');
    const inside = events.join();
    log.setBudget(-1);
    await until(() => client.closed, 'the end');
    const got = describeFrames(afterHead(client));
    rows.push({
      maxBackpressure: limit,
      'buffered before': buffered,
      step: `end(1013, 'slow')`,
      events: inside,
      'client got': got === '' ? 'FIN, not a byte' : got,
    });
    holds &&= got === (buffered > limit ? '' : `text ${String(limit - 4)} B, close 1013 "slow"`);
  }
  return {
    claim:
      'A message is dropped (2) exactly when more than maxBackpressure is buffered before it, whatever its own size; 0 is no limit; end() over the limit loses its close frame and the whole backlog.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
