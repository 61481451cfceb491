// When a peer that vanished is noticed, by what is written to it, and that a reader with a shut
// window goes by the same clock. In a network namespace.
import { loadLibc } from '../../src/native/libc.js';
import { deadPeerTimes, setOptions } from '../../src/native/socket-options.js';
import { descriptorOf, listenerInodes } from '../../src/linux/sockets.js';
import { Namespace } from '../../test/support/namespace.js';
import { NotHere, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const timeoutMs = 4_000;
const { userTimeoutMs, idleSeconds, intervalSeconds } = deadPeerTimes(timeoutMs);
const silentMs = (idleSeconds + intervalSeconds) * 1000;
/** Written to so long before a silent line would end. */
const justBeforeMs = 300;
/**
 * The last byte of a peer came a little before it vanished; the kernel's timers and this process
 * are a little late.
 */
const earlyMs = 300;
const lateMs = 1_000;

type Line = { path: string; response: HttpResponse; endedMs: number };

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: probe\r\n\r\n`;

/** A server whose lines are found by their path, with the options set or without. */
async function serve(
  withOptions: boolean,
  elapsed: () => number,
): Promise<{ port: number; lines: Map<string, Line> }> {
  const lines = new Map<string, Line>();
  const { port } = await listen(
    uWS.App().get('/*', (response, request) => {
      const line: Line = { path: request.getUrl(), response, endedMs: -1 };
      lines.set(line.path, line);
      response.onAborted(() => (line.endedMs = elapsed()));
      response.write('x');
    }),
  );
  if (withOptions) {
    const libc = await loadLibc().catch(() => {
      throw new NotHere('koffi, to call setsockopt()');
    });
    const wanted = {
      socketSendBufferBytes: 16_384,
      socketReceiveBufferBytes: 0,
      notsentLowatBytes: 0,
      deadPeerTimeoutMs: timeoutMs,
    };
    const { problems } = setOptions(descriptorOf(listenerInodes(port)) ?? -1, wanted, libc);
    if (problems.length > 0) throw new Error(problems.join('; '));
  }
  return { port, lines };
}

export async function probe(): Promise<ProbeResult> {
  const absence = Namespace.absence();
  if (absence !== undefined) throw new NotHere(absence);
  let startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  const guarded = await serve(true, elapsed);
  const plain = await serve(false, elapsed);
  const namespace = Namespace.create();
  const clients: RawClient[] = [];
  try {
    namespace.hold(guarded.port, ['/silent', '/once', '/often', '/late'].map(get));
    namespace.hold(plain.port, [get('/silent')]);
    clients.push(
      new RawClient(guarded.port).get('/reads'),
      new RawClient(guarded.port, { paused: true, keep: false }).get('/shut'),
    );
    await until(() => guarded.lines.size === 6 && plain.lines.size === 1, 'all lines');

    namespace.pullCable();
    startedAt = performance.now();
    const write = (path: string, bytes: number): boolean => {
      const line = guarded.lines.get(path);
      let whole = true;
      if (line !== undefined && line.endedMs < 0)
        line.response.cork(() => (whole = line.response.write(Buffer.alloc(bytes, 97))));
      return whole;
    };
    while (write('/shut', 16_000));
    write('/once', 100);
    let lateIsWritten = false;
    while (elapsed() < silentMs + userTimeoutMs + lateMs) {
      write('/often', 100);
      if (!lateIsWritten && elapsed() >= silentMs - justBeforeMs) {
        lateIsWritten = true;
        write('/late', 100);
      }
      await turn(100);
    }
  } finally {
    namespace.remove();
    for (const client of clients) client.destroy();
  }

  const rows: Row[] = [];
  let holds = true;
  const add = (name: string, line: Line | undefined, wantedMs: number | undefined): void => {
    const seen = line?.endedMs ?? -1;
    const right =
      wantedMs === undefined ? seen < 0 : seen > wantedMs - earlyMs && seen < wantedMs + lateMs;
    holds &&= right;
    rows.push({
      line: name,
      'by calculation, s': wantedMs === undefined ? 'stays' : wantedMs / 1000,
      'ended after, s': seen < 0 ? 'stayed' : (seen / 1000).toFixed(1),
    });
  };
  add('vanished; nothing is written', guarded.lines.get('/silent'), silentMs);
  add('vanished; written to once, at once', guarded.lines.get('/once'), userTimeoutMs);
  add('vanished; written to every 100 ms', guarded.lines.get('/often'), userTimeoutMs);
  add(
    `vanished; written to once, ${String(justBeforeMs)} ms before it would end in silence`,
    guarded.lines.get('/late'),
    silentMs - justBeforeMs + userTimeoutMs,
  );
  add('there, and its window is shut', guarded.lines.get('/shut'), userTimeoutMs);
  add('there; nothing is written', guarded.lines.get('/reads'), undefined);
  add('vanished; nothing is written, no option set', plain.lines.get('/silent'), undefined);
  return {
    claim:
      'With keepalive and a user timeout, a silent line is closed idle + interval after the last byte received; with unacknowledged data or a shut window at the user timeout; if data was written just before it would have been closed, at the sum.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
