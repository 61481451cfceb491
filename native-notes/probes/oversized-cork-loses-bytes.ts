// A cork over 16,384 bytes whose flush is short drops the chunk it was about to copy, on the older
// build. Reproduced by real stalls and by a send() cut at every place.
import { SendLog, takenBytes } from './send-log.js';
import { byBuild, decodeChunked, heldStream, main, turn } from './support.js';
import type { ProbeResult, Row } from './support.js';

type Run = { corrupt: boolean; backpressure: boolean; lied: boolean };

/**
 * Writes one cork after another, then lets the reader read. Every byte of the body is its
 * position's.
 */
async function run(log: SendLog, lengths: number[], cutAt: number): Promise<Run> {
  const start = log.count;
  const { app, client, res } = await heldStream({ paused: true });
  let written = 1;
  let backpressure = false;
  let lied = false;
  const mark = log.count;
  if (cutAt >= 0) log.setBudget(cutAt);
  for (let cork = 0; cork < 64 && !backpressure; cork++) {
    let answer = true;
    res.cork(() => {
      for (const length of lengths) {
        answer = res.write(Buffer.alloc(length, 97 + (written % 26)));
        written += length;
      }
    });
    backpressure = log.since(mark).some((send) => send.result < send.asked);
    lied = backpressure && answer;
  }
  log.setBudget(-1);
  client.resume();
  // Without onWritable uWS drains by itself: what does not come now is lost.
  let quiet = 0;
  for (let seen = -1; quiet < 5; await turn()) {
    const sent = takenBytes(log.since(start));
    quiet = sent === seen && client.receivedBytes === sent ? quiet + 1 : 0;
    seen = sent;
  }
  const { body, corruptAt } = decodeChunked(client.bytes());
  client.destroy();
  app.close();
  return { corrupt: corruptAt >= 0 || body.length !== written, backpressure, lied };
}

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  const corrupted = new Map<string, number>();
  const lies = new Map<string, number>();
  const shapes: [string, number[]][] = [
    ['1 × 16,376 = 16,384 wire bytes', [16376]],
    ['2 × 8,184 = 16,384 wire bytes', [8184, 8184]],
    ['1 × 20,000', [20000]],
    ['1 × 61,440', [61440]],
    ['2 × 12,000', [12000, 12000]],
    ['5 × 4,000', [4000, 4000, 4000, 4000, 4000]],
  ];
  for (const [name, lengths] of shapes) {
    const wire = lengths.reduce((sum, length) => sum + length + 4 + length.toString(16).length, 0);
    // Every one of these cuts makes exactly one cork's flush short: in its first bytes, its middle,
    // at the cork buffer's end, near the end.
    const cuts = [
      0, 1, 2, 5, 8, 100, 4000, 8000, 8192, 12005, 16000, 16383, 16384, 20000, 40000, 61440,
    ].filter((cut) => cut < wire);
    let cutCorrupt = 0;
    let lied = 0;
    log.setBuffers(0, 0);
    for (const cut of cuts) {
      const short = await run(log, lengths, cut);
      if (short.corrupt) cutCorrupt++;
      if (short.lied) lied++;
    }
    let realCorrupt = 0;
    let realRuns = 0;
    for (let at = 0; at < 10; at++) {
      log.setBuffers(8192 + at * 512, 8192 + at * 256);
      const real = await run(log, lengths, -1);
      if (!real.backpressure) continue;
      realRuns++;
      if (real.corrupt) realCorrupt++;
      if (real.lied) lied++;
    }
    corrupted.set(name, cutCorrupt + realCorrupt);
    lies.set(name, lied);
    rows.push({
      cork: name,
      'wire bytes': wire,
      'corrupt, send() cut short once': `${String(cutCorrupt)} of ${String(cuts.length)}`,
      'corrupt, real stalled reader': `${String(realCorrupt)} of ${String(realRuns)}`,
      'true though it was short': `${String(lied)} of ${String(cuts.length + realRuns)}`,
    });
  }
  const count = (name: string): number => corrupted.get(name) ?? Number.NaN;
  const small = count(shapes[0]?.[0] ?? '') + count(shapes[1]?.[0] ?? '');
  const large = [count('1 × 20,000'), count('1 × 61,440'), count('2 × 12,000'), count('5 × 4,000')];
  return {
    claim:
      'Before 20.64 a cork over 16,384 wire bytes loses bytes when its flush meets backpressure, from then on none; up to 16,384 no build does.',
    holds:
      small === 0 &&
      byBuild({
        '20.51.4': large.every((corrupt) => corrupt > 0),
        // One large write tells at once, where a cork that fits shows it one cork late.
        '20.69.0':
          large.every((corrupt) => corrupt === 0) &&
          lies.get('1 × 61,440') === 0 &&
          lies.get('1 × 16,376 = 16,384 wire bytes') !== 0,
      }),
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
