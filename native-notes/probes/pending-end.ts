// tryEnd(): what a socket refuses stays with the caller, and a second request on the connection
// closes it; end() keeps it all.
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { ProbeResult } from './support.js';

const BODY_BYTES_MAX = 8 * 1024 * 1024;
const SHORT = '{"status":"ok"}';

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  const body = Buffer.alloc(BODY_BYTES_MAX, 'x');
  let handled = 0;
  let aborted = 0;
  let pending = 0;
  let offsets: number[] = [];
  let tried: string[] = [];
  const { port } = await listen(
    uWS.App().any('/*', (response, request) => {
      handled++;
      const path = request.getUrl();
      if (path === '/end') {
        response.end(SHORT);
        return;
      }
      const whole = path === '/large' ? body : Buffer.from(SHORT);
      const [isTaken, isDone] = response.tryEnd(whole, whole.length);
      if (path === '/large') tried.push(`${String(isTaken)} ${String(isDone)}`);
      if (isDone) return;
      pending++;
      response.onAborted(() => aborted++);
      response.onWritable((offset) => {
        offsets.push(offset);
        const [taken, done] = response.tryEnd(whole.subarray(offset), whole.length);
        if (done) pending--;
        return taken;
      });
    }),
  );
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: probe\r\n\r\n`;

  // 1. A large body: the rest is asked for by its offset.
  let client = new RawClient(port, { keep: false, paused: true }).send(request('/large'));
  await until(() => pending === 1, 'the answer that is refused in part');
  findings.add('8 MiB to who does not read: tryEnd()', tried.join(), 'false false');
  client.resume();
  await until(() => client.receivedBytes > BODY_BYTES_MAX, 'the whole answer');
  findings.add(
    'who reads again gets all of it',
    client.receivedBytes > BODY_BYTES_MAX && pending === 0,
    true,
  );
  findings.add(
    'onWritable is told offsets that rise',
    offsets.every((at, i) => at > (offsets[i - 1] ?? 0)),
    true,
  );
  client.destroy();

  // 2. A request behind a pending answer.
  [handled, pending, aborted] = [0, 0, 0];
  client = new RawClient(port, { keep: false, paused: true }).send(
    request('/large') + request('/short'),
  );
  await until(() => aborted === 1, 'the close');
  findings.add('a request behind a pending answer: handled', handled, 1);
  client.destroy();

  // 3. Short answers without end to who never reads.
  for (const path of ['/short', '/end']) {
    [handled, pending, aborted] = [0, 0, 0];
    client = new RawClient(port, { keep: false, paused: true });
    const many = request(path).repeat(500);
    for (let at = 0; at < 100 && aborted === 0; at++) {
      client.send(many);
      const from = handled;
      await until(() => handled > from || aborted > 0, 'some requests').catch(() => {});
      await turn();
    }
    await turn(50);
    const ended = aborted > 0 ? 'closed, one answer pending' : 'open, all answers kept';
    findings.add(
      `${path.slice(1)} answers without end, never read`,
      ended,
      path === '/end' ? 'open, all answers kept' : 'closed, one answer pending',
    );
    client.destroy();
  }
  offsets = [];
  tried = [];
  return {
    claim:
      'tryEnd(body, size) keeps nothing of what the socket refuses and leaves the answer pending, also a short one behind a backlog; a request behind it closes the connection. end() keeps everything.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
