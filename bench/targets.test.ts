/**
 * The servers of the bench that stand beside Holdline's: each one that is installed here delivers
 * what is published to it, once and in order.
 */
import { expect, test } from 'vitest';
import { SSE } from '../dist/tools/load/clients/encoding.js';
import { eventData, newRun, stampEvent } from '../dist/tools/load/clients/event.js';
import { EventReader, formatOf } from '../dist/tools/load/clients/event-reader.js';
import { CHANNEL, DATA_BYTES, PATH } from './event.js';
import { RIVALS, type TargetName, absence, startTarget } from './targets.js';

const BESIDE_OURS: TargetName[] = ['raw-uws', 'slice-loop', 'send-loop', ...RIVALS];
const EVENTS = 3;
const LINES = 2;

for (const name of BESIDE_OURS) {
  const why = absence(name);
  const title = `${name} gives every line every event, in order`;
  // Rivals need not be installed.
  test.skipIf(why !== undefined)(why === undefined ? title : `${title} (${why})`, async () => {
    const server = await startTarget(name);
    try {
      const run = newRun();
      const lines = await Promise.all(
        Array.from({ length: LINES }, () =>
          openLine(server.port, server.linePath ?? PATH, run, EVENTS),
        ),
      );
      for (let sequence = 1; sequence <= EVENTS; sequence++)
        await publish(server.publishPort ?? server.port, run, sequence);
      const wanted = Array.from({ length: EVENTS }, (_, nth) => nth + 1);
      for (const line of lines) expect(await line.sequences).toEqual(wanted);
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

/** Resolves when the server has begun to answer; `sequences` when so many events have come. */
async function openLine(
  port: number,
  path: string,
  run: string,
  events: number,
): Promise<{ sequences: Promise<number[]> }> {
  const stop = new AbortController();
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers: { Accept: 'text/event-stream' },
    signal: stop.signal,
  });
  expect(answer.status).toBe(200);
  const read = async (): Promise<number[]> => {
    const sequences: number[] = [];
    const format = formatOf(SSE, { run, channel: CHANNEL, sizeBytes: DATA_BYTES });
    const ignore = (): void => {};
    const reader = new EventReader(format, {
      event: (_id, sequence) => sequences.push(sequence),
      gap: ignore,
      ended: ignore,
      heartbeat: ignore,
      position: ignore,
    });
    for await (const piece of answer.body!) {
      const bytes = Buffer.from(piece as Uint8Array);
      reader.feed(bytes, 0, bytes.length);
      if (sequences.length >= events) break;
    }
    stop.abort();
    return sequences;
  };
  return { sequences: read() };
}
