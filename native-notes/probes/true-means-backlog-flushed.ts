// Under cork: write() true = what was buffered before is gone; false = the bytes were appended to
// it. A failed flush shows one cork late.
import { SendLog, takenBytes } from './send-log.js';
import type { Send } from './send-log.js';
import {
  RawClient,
  chunkWireBytes,
  decodeChunked,
  listen,
  main,
  turn,
  uWS,
  until,
} from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

type Cork = { ok: boolean; sends: Send[]; before: number; after: number; wireBytes: number };

class Stream {
  client!: RawClient;
  response!: HttpResponse;
  offered = 0;
  taken = 0;
  written = 0;
  readonly #log: SendLog;
  readonly #pattern = Buffer.allocUnsafeSlow(65536 + 16384);

  constructor(log: SendLog) {
    this.#log = log;
    for (let at = 0; at < this.#pattern.length; at++) this.#pattern[at] = patternAt(at);
  }

  async open(): Promise<void> {
    let found: HttpResponse | undefined;
    const { port } = await listen(
      uWS.App().get('/*', (response) => {
        found = response;
        // Registered and idle: nothing but the writes below moves the backlog.
        response.onAborted(() => {}).onWritable(() => true);
        response.write(Buffer.from([patternAt(0)]));
      }),
    );
    const start = this.#log.count;
    this.client = new RawClient(port, { paused: true, readBytes: 4096 }).get('/');
    await until(() => found !== undefined && this.#log.count > start, 'the prelude');
    this.response = found as unknown as HttpResponse;
    this.taken = takenBytes(this.#log.since(start));
    this.offered = this.taken;
    this.written = 1;
  }

  cork(length: number): Cork {
    const before = this.offered - this.taken;
    const mark = this.#log.count;
    const from = this.written % 65536;
    let ok = false;
    this.response.cork(() => {
      ok = this.response.write(this.#pattern.subarray(from, from + length));
    });
    const sends = this.#log.since(mark);
    this.written += length;
    this.offered += chunkWireBytes(length);
    this.taken += takenBytes(sends);
    return {
      ok,
      sends,
      before,
      after: this.offered - this.taken,
      wireBytes: chunkWireBytes(length),
    };
  }
}

function patternAt(at: number): number {
  return ((at % 65536) * 2654435761) >>> 24;
}

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  log.setBuffers(4096, 4096);
  const seed = Number(process.env['SEED'] ?? 1);
  let random = seed;
  const below = (limit: number): number => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return Math.floor((random / 2 ** 32) * limit);
  };

  const rows: Row[] = [];
  const show = (step: string, cork: Cork): void => {
    const sends = cork.sends
      .map((send) => `${String(send.asked)}→${send.result < 0 ? 'EAGAIN' : String(send.result)}`)
      .join(' ');
    rows.push({
      step,
      'cork bytes': cork.wireBytes,
      'backlog before': cork.before,
      'write()': cork.ok,
      'backlog after': cork.after,
      'send() asked→took': sends,
    });
  };

  // 1. One stall, step by step: the reader stands still until write() has been refused twice, then
  // reads everything.
  const stall = new Stream(log);
  await stall.open();
  let last = stall.cork(8000);
  while (last.after === 0) last = stall.cork(8000);
  show('first cork whose flush fails', last);
  const lateTrue = last.ok;
  let refused = 0;
  while (refused < 2) {
    last = stall.cork(8000);
    show('next cork', last);
    if (!last.ok) refused++;
  }
  const fiveSends = last.sends.length === 5;
  stall.client.resume();
  await until(() => stall.client.receivedBytes >= stall.taken, 'the reader catching up');
  last = stall.cork(100);
  show('small cork after the reader has read', last);
  while (stall.offered > stall.taken) {
    await turn();
    last = stall.cork(100);
    show('small cork again', last);
  }

  // 2. Random corks against a reader that reads now and then.
  const stream = new Stream(log);
  await stream.open();
  const count = {
    corks: 0,
    trueClear: 0,
    trueAfterBacklog: 0,
    trueLate: 0,
    falses: 0,
    violations: 0,
  };
  for (let at = 0; at < 1200; at++) {
    const cork = stream.cork(1 + below(at % 8 === 0 ? 16376 : 300));
    count.corks++;
    const lastSend = cork.sends.at(-1);
    if (cork.ok) {
      if (cork.before > 0) count.trueAfterBacklog++;
      else count.trueClear++;
      if (cork.after > 0) count.trueLate++;
      // At most this one cork may be left, and the last send() was of exactly this cork's corked
      // bytes.
      if (cork.after > cork.wireBytes) count.violations++;
    } else {
      count.falses++;
      // The native string is as long as what is missing: the last flush asked for all of it.
      if (lastSend === undefined || lastSend.asked - Math.max(0, lastSend.result) !== cork.after)
        count.violations++;
      if (cork.before === 0) count.violations++;
    }
    // A large backlog lets the reader catch up; otherwise it reads a little, or not at all.
    const missing = stream.taken - stream.client.receivedBytes;
    const target =
      stream.client.receivedBytes +
      (cork.after > 24576 ? missing : below(3) === 0 ? below(missing + 1) : 0);
    stream.client.resume();
    await until(() => stream.client.receivedBytes >= target, 'the slow reader');
    stream.client.pause();
  }
  stream.client.resume();
  while (stream.offered > stream.taken) {
    await turn();
    stream.cork(1);
  }
  await until(() => stream.client.receivedBytes === stream.offered, 'the rest');
  const { body, corruptAt } = decodeChunked(stream.client.bytes());
  let intact = corruptAt < 0 && body.length === stream.written;
  for (let at = 0; intact && at < body.length; at++) intact = body[at] === patternAt(at);

  rows.push({
    step: `${String(count.corks)} random corks, slow reader, seed ${String(seed)}`,
    'write()': `true ${String(count.trueClear)} with nothing buffered, ${String(count.trueAfterBacklog)} over a backlog; false ${String(count.falses)}`,
    'backlog after': `true left more than its own cork, or false lied: ${String(count.violations)} times; true and still buffered: ${String(count.trueLate)}`,
    'send() asked→took': `${String(body.length)} bytes ${intact ? 'intact' : 'CORRUPT'}`,
  });

  const stallAsClaimed = lateTrue && fiveSends;
  return {
    claim:
      'A corked write that returns true found or made the backlog empty (at most this cork stays); false means it was appended; a failed flush shows one cork late.',
    holds:
      stallAsClaimed &&
      intact &&
      count.violations === 0 &&
      count.trueAfterBacklog > 0 &&
      count.falses > 0,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
