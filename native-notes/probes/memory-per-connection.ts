// What one held stream costs the server's process, by the number of closures it is given, and one
// waiting poll and one WebSocket. Server in a child, clients here.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RawClient, listen, main, turn, uWS, until, upgrade, upgradeHeaders } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const variants = [
  'no closure, no onWritable',
  'no closure',
  'one: onAborted',
  'one for both',
  'two closures',
  'one for both, res.row = n',
  'waiting poll, one: onAborted',
  'WebSocket, data {}',
  'WebSocket, data { row: n }',
] as const;
type Variant = (typeof variants)[number];
type Sample = { lines: number; rss: number; heap: number };

// ---------------------------------------------------------------- the server (child process)

const held: object[] = [];
/**
 * One function for both callbacks: onAborted comes without an argument, onWritable with a number
 * (one-closure-for-both).
 */
function shared(): boolean {
  return true;
}

// tsx names every function by defineProperty, which costs 200 B each and is not what compiled code
// does: closures here stay anonymous.
const anonymous = <T>(value: T): T => value;
const onEvent = anonymous((response: HttpResponse, argument?: number): boolean => {
  if (argument !== undefined) response.cork(noop);
  return true;
});

function closureOver(response: HttpResponse): (argument?: number) => boolean {
  return (argument) => onEvent(response, argument);
}

function noop(): void {}

function hold(variant: Variant, response: HttpResponse): void {
  if (variant === 'no closure, no onWritable') {
    response.onAborted(shared);
  } else if (variant === 'no closure') {
    response.onAborted(shared).onWritable(shared);
  } else if (variant === 'waiting poll, one: onAborted') {
    response.onAborted(() => onEvent(response));
  } else if (variant === 'one: onAborted') {
    response.onAborted(() => onEvent(response)).onWritable(shared);
  } else if (variant !== 'two closures') {
    const both = closureOver(response);
    response.onAborted(both).onWritable(both);
    if (variant === 'one for both, res.row = n') response['row'] = held.length;
  } else {
    response
      .onAborted(() => onEvent(response))
      .onWritable((argument) => onEvent(response, argument));
  }
  held.push(response);
  if (variant === 'waiting poll, one: onAborted') return;
  response.writeHeader('Content-Type', 'text/event-stream');
  response.write('retry: 3000\n\n');
}

async function serve(variant: Variant): Promise<void> {
  const app = uWS
    .App()
    .get('/sample', (response) => {
      const gc = (globalThis as { gc?: () => void }).gc;
      gc?.();
      const rss = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096;
      response.end(
        JSON.stringify({ lines: held.length, rss, heap: process.memoryUsage().heapUsed }),
      );
    })
    .get('/count', (response) => void response.end(`{${String(held.length)}}`))
    .ws<object>('/*', {
      idleTimeout: 120,
      upgrade: (response, request, context) =>
        upgrade(
          response,
          request,
          context,
          variant === 'WebSocket, data {}' ? {} : { row: held.length },
        ),
      open: (ws) => void held.push(ws),
      close: noop,
    })
    .get('/*', (response) => hold(variant, response));
  const { port } = await listen(app);
  console.log(port);
}

// ---------------------------------------------------------------- the probe

async function measure(variant: Variant, points: number[]): Promise<Sample[]> {
  const child = spawn(
    process.execPath,
    [
      ...process.execArgv,
      '--expose-gc',
      '--max-semi-space-size=1',
      fileURLToPath(import.meta.url),
      `--serve=${variant}`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const port = await new Promise<number>((resolve) => {
    child.stdout.once('data', (data: Buffer) => resolve(Number(data.toString())));
  });
  const lines: RawClient[] = [];
  const ask = async (path: string): Promise<string> => {
    const client = new RawClient(port).get(path);
    await until(() => client.text().includes('}'), path);
    client.destroy();
    return client.text().slice(client.text().indexOf('\r\n\r\n') + 4);
  };
  const sample = async (): Promise<Sample> => JSON.parse(await ask('/sample')) as Sample;
  const samples: Sample[] = [];
  for (const point of points) {
    while (lines.length < point) {
      const batch = Array.from({ length: Math.min(400, point - lines.length) }, () =>
        new RawClient(port, { keep: false, readBytes: 256 }).get(
          '/line',
          variant.startsWith('WebSocket') ? upgradeHeaders : '',
        ),
      );
      lines.push(...batch);
      while ((await ask('/count')) !== `{${String(lines.length)}}`) await turn();
    }
    // The first collections give back what starting up took.
    for (let at = 0; samples.length === 0 && at < 2; at++) await sample();
    samples.push(await sample());
  }
  child.kill();
  for (const line of lines) line.destroy();
  return samples;
}

/**
 * Median of the slopes between neighbouring points: V8 gives back a few MB at once now and then,
 * which would bend a regression.
 */
function slope(samples: Sample[], of: (sample: Sample) => number): number {
  const slopes: number[] = [];
  for (let at = 1; at < samples.length; at++) {
    const [before, after] = [samples[at - 1] as Sample, samples[at] as Sample];
    slopes.push((of(after) - of(before)) / (after.lines - before.lines));
  }
  slopes.sort((left, right) => left - right);
  const middle = slopes.length >> 1;
  return Math.round(
    ((slopes[middle] as number) + (slopes[slopes.length - 1 - middle] as number)) / 2,
  );
}

export async function probe(): Promise<ProbeResult> {
  const points = [1200, 2400, 3600, 4800, 6000];
  const rows: Row[] = [];
  const rss = new Map<Variant, number>();
  const heap = new Map<Variant, number>();
  for (const variant of variants) {
    const samples = await measure(variant, points);
    rss.set(
      variant,
      slope(samples, (sample) => sample.rss),
    );
    heap.set(
      variant,
      slope(samples, (sample) => sample.heap),
    );
    rows.push({
      variant,
      'RSS B/line': rss.get(variant) ?? 0,
      'V8 heap B/line': heap.get(variant) ?? 0,
      [`RSS MB at ${points.join(', ')} lines`]: samples
        .map((sample) => (sample.rss / 1e6).toFixed(1))
        .join(' '),
    });
  }
  return {
    claim:
      'A held stream costs about 700 B of RSS, a waiting poll 650 B, a WebSocket 550 B and no closure; a closure adds about 95 B of V8 heap, a second one about 55 B more, onWritable itself about 75 B.',
    holds:
      (rss.get('one for both') ?? 0) < 1000 &&
      (heap.get('one for both') ?? 0) < (heap.get('two closures') ?? 0),
    rows,
  };
}

const serving = process.argv.find((argument) => argument.startsWith('--serve='));
if (serving === undefined) await main(import.meta.url, probe);
else await serve(serving.slice('--serve='.length) as Variant);
