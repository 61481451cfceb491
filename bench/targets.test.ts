/**
 * The servers of the bench that stand beside Holdline's: each one that is installed here delivers
 * what is published to it, once and in order.
 */
import { expect, test } from 'vitest';
import { SSE } from '../dist/tools/load/clients/encoding.js';
import { eventData, newRun, stampEvent } from '../dist/tools/load/clients/event.js';
import { EventReader, formatOf } from '../dist/tools/load/clients/event-reader.js';
import { sleepMs } from './clock.js';
import { CHANNEL, DATA_BYTES, PATH } from './event.js';
import { RIVALS, type TargetName, absence, startTarget } from './targets.js';

const BESIDE_OURS: TargetName[] = ['raw-uws', 'slice-loop', 'send-loop', ...RIVALS];
const EVENTS = 3;
const LINES = 2;
/** The event that is published until a line has it: no one of the counted ones. */
const OPENING = EVENTS + 1;
const OPENING_EVERY_MS = 100;

for (const name of BESIDE_OURS) {
  const why = absence(name);
  const title = `${name} gives every line every event, in order`;
  // Rivals need not be installed.
  test.skipIf(why !== undefined)(why === undefined ? title : `${title} (${why})`, async () => {
    const server = await startTarget(name);
    try {
      const run = newRun();
      const publishTo = (sequence: number): Promise<void> =>
        publish(server.publishPort ?? server.port, run, sequence);
      const open = (): Promise<Line> => openLine(server.port, server.linePath ?? PATH, run);
      const lines = await Promise.all(Array.from({ length: LINES }, () => begun(open, publishTo)));
      for (let sequence = 1; sequence <= EVENTS; sequence++) await publishTo(sequence);
      const wanted = Array.from({ length: EVENTS }, (_, nth) => nth + 1);
      for (const line of lines) expect(await line.counted).toEqual(wanted);
    } finally {
      await server.stop();
    }
  });
}

async function publish(port: number, run: string, sequence: number): Promise<void> {
  const body = eventData(run, DATA_BYTES);
  stampEvent(body, 0, sequence, 1);
  const answer = await fetch(`http://127.0.0.1:${port}${PATH}`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain' },
    body,
  });
  await answer.arrayBuffer();
  expect(answer.ok).toBe(true);
}

interface Line {
  /** When the opening event has come: false where the line has ended before. */
  readonly opened: Promise<boolean>;
  /** Sequences of the counted events, when all have come or the line has ended. */
  readonly counted: Promise<number[]>;
}

/**
 * A line that has had its opening event. pushpin answers before it has subscribed, so that what is
 * published next passes by, and may close a line that has just opened (see pushpin-target.ts).
 */
async function begun(
  open: () => Promise<Line>,
  publishTo: (sequence: number) => Promise<void>,
): Promise<Line> {
  for (;;) {
    const line = await open();
    let opened: boolean | undefined;
    while (opened === undefined) {
      await publishTo(OPENING);
      opened = await Promise.race([line.opened, sleepMs(OPENING_EVERY_MS).then(() => undefined)]);
    }
    if (opened) return line;
  }
}

/** Resolves when the server has begun to answer. */
async function openLine(port: number, path: string, run: string): Promise<Line> {
  const stop = new AbortController();
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers: { Accept: 'text/event-stream' },
    signal: stop.signal,
  });
  expect(answer.status).toBe(200);
  let tellOpened: (opened: boolean) => void = () => {};
  const opened = new Promise<boolean>((resolve) => {
    tellOpened = resolve;
  });
  const read = async (): Promise<number[]> => {
    const sequences: number[] = [];
    const format = formatOf(SSE, { run, channel: CHANNEL, sizeBytes: DATA_BYTES });
    const ignore = (): void => {};
    const reader = new EventReader(format, {
      event: (_id, sequence) => {
        if (sequence === OPENING) tellOpened(true);
        else sequences.push(sequence);
      },
      gap: ignore,
      ended: ignore,
      heartbeat: ignore,
      position: ignore,
    });
    try {
      for await (const piece of answer.body!) {
        const bytes = Buffer.from(piece as Uint8Array);
        reader.feed(bytes, 0, bytes.length);
        if (sequences.length >= EVENTS) break;
      }
    } catch {
      // Cut: what has come by then is judged.
    }
    tellOpened(false);
    stop.abort();
    return sequences;
  };
  return { opened, counted: read() };
}
