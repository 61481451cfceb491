/**
 * `holdline load` with several processes, clients that are not all checked, mixes, herds and
 * servers of other makes. What it counts is compared with what other clients count, and with faults
 * that are made on purpose.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { createChannel, createSession } from 'better-sse';
import { EventSource } from 'eventsource';
import { EventSource as UndiciEventSource } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fakes, load, startLoad, words } from './support/load.js';
import { meddlingProxy, type Meddle } from './support/meddling-server.js';
import { hostedForTest, sharedHosted } from './support/hosted.js';

const WORKER = fileURLToPath(new URL('../dist/tools/load/processes/worker.js', import.meta.url));

const listen = fakes();

const FLAWLESS = { flawless: true, lost: 0, gapLost: 0, doubled: 0, outOfOrder: 0, gaps: 0 };

/** A run against a server of another make, at the paths that it has. */
function loadOther(url: string, options: string): ReturnType<typeof load> {
  return load(['--url', `${url}/events`, '--publish-url', `${url}/publish`, ...words(options)]);
}

describe('several processes', { timeout: 60_000 }, () => {
  const shared = sharedHosted();

  it.concurrent.each(['sse', 'ndjson', 'ws'] as const)(
    'share the clients over %s, and count those that are not checked by their bytes',
    async (transport) => {
      const { status, report } = await load(
        words(
          `--url ${shared().url}/processes-${transport} --transport ${transport} --processes 2 --check 10% --connections 60 --rate 50 --duration 1s`,
        ),
      );
      expect({ status, report }).toMatchObject({
        status: 0,
        report: {
          ...FLAWLESS,
          connections: 60,
          checkedClients: 6,
          published: 50,
          expected: 3000,
          delivered: 3000,
        },
      });
      expect(report.clientProcesses).toHaveLength(2);
      // Latencies are those of checked clients.
      expect(report.latencyCurve.at(-1)!.percentile).toBe(100);
      expect(report.latencyMs.p50).toBeGreaterThan(0);
    },
  );

  it('connect at the rate asked for', async () => {
    const { report } = await load(
      words(
        `--url ${shared().url}/ramp --processes 2 --ramp 40/s --connections 20 --rate 10 --duration 500ms`,
      ),
    );
    // The first of each process is due at once, the tenth 9/20 of a second later.
    expect(report.connectSeconds).toBeGreaterThanOrEqual(0.45);
    expect(report).toMatchObject({ ...FLAWLESS, delivered: 100 });
  });

  it('end the run in words when one of them dies', async () => {
    const server = await hostedForTest();
    const { child, ended } = startLoad(
      words(`--url ${server.url}/c --processes 2 --connections 4 --rate 50 --duration 1h --quiet`),
    );
    await server.statsUntil('some events', ({ head }) => head > 5, 15_000);
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number);
    process.kill(children[1]!, 'SIGKILL');
    const { status, stdout, stderr } = await ended;
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: '',
      stderr: 'holdline: a client process is gone: SIGKILL\n',
    });
    await server.statsUntil('the other process gone, too', ({ lines }) => lines.open === 0, 15_000);
    expect(() => process.kill(children[0]!, 0)).toThrow(/ESRCH/);
  });

  it('end without a word when their answer cannot be sent any more', async () => {
    // Python can close one way of the channel (Node cannot): the order arrives, its answer fails.
    // A failure that is thrown ends the worker long before the channel is closed.
    const coordinator = `
import os, socket, subprocess, sys
ours, theirs = socket.socketpair()
env = dict(os.environ, NODE_CHANNEL_FD=str(theirs.fileno()), NODE_CHANNEL_SERIALIZATION_MODE='json')
worker = subprocess.Popen(sys.argv[1:], pass_fds=[theirs.fileno()], env=env)
theirs.close()
ours.shutdown(socket.SHUT_RD)
ours.sendall(b'{"ask":1,"order":"begin","body":{}}\\n')
try:
    worker.wait(1.5)
except subprocess.TimeoutExpired:
    pass
ours.close()
sys.exit(worker.wait())`;
    const child = spawn('python3', ['-c', coordinator, process.execPath, WORKER], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await once(child, 'close');
    expect({ stderr, exitCode: child.exitCode }).toEqual({ stderr: '', exitCode: 0 });
  });

  it('end with the one that ordered them, however it ends', async () => {
    const server = await hostedForTest();
    const { child } = startLoad(
      words(`--url ${server.url}/c --processes 2 --connections 4 --rate 50 --duration 1h --quiet`),
    );
    await server.statsUntil('some events', ({ head }) => head > 5, 15_000);
    child.kill('SIGKILL');
    const left = await server.statsUntil('no line', ({ lines }) => lines.open === 0, 15_000);
    expect(left.lines.byTransport.sse).toBe(0);
  });
});

describe('what a load counts', { timeout: 60_000 }, () => {
  it('is what clients of other makes count on the same channel', async () => {
    const server = await hostedForTest();
    const url = `${server.url}/c`;
    const seen = { eventsource: [] as string[], undici: [] as string[] };
    const sources = [new EventSource(url), new UndiciEventSource(url)] as const;
    onTestFinished(() => {
      for (const source of sources) source.close();
    });
    sources[0].addEventListener('message', ({ data }) => seen.eventsource.push(data as string));
    sources[1].addEventListener('message', ({ data }) => seen.undici.push(data as string));
    await server.statsUntil('both', ({ lines }) => lines.open === 2);
    const loading = load(
      words(`--url ${url} --processes 2 --connections 30 --rate 200 --duration 1s --check 50%`),
    );
    await server.statsUntil('some events of the run', ({ head }) => head > 20, 15_000);
    // Something that is not of the run, which a load must leave out of its figures.
    await server.publish('c', 'not of the run');
    const { status, report } = await loading;
    await server.publish('c', 'the end');
    for (const [name, data] of Object.entries(seen)) {
      await expect.poll(() => data.at(-1), { message: name }).toBe('the end');
    }
    expect(seen.undici).toEqual(seen.eventsource);
    const ofRun = seen.eventsource.slice(0, -1).filter((data) => data !== 'not of the run');
    expect(ofRun).toHaveLength(seen.eventsource.length - 2);
    expect(new Set(ofRun.map((data) => data.slice(0, 8))).size).toBe(1);
    expect(new Set(ofRun.map((data) => Number(data.slice(9, 19)))).size).toBe(ofRun.length);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: {
        ...FLAWLESS,
        published: ofRun.length,
        expected: 30 * ofRun.length,
        delivered: 30 * ofRun.length,
      },
    });
    expect(report.published).toBe(200);
    const { counters } = await server.stats();
    // Those of the load, and the two of this test, of which only the clients of other makes were
    // there for the last.
    expect(counters.events_accepted_total).toBe(report.published + 2);
    expect(counters.deliveries_total).toBe(report.delivered + 30 + 2 * seen.eventsource.length);
  });
});

describe.concurrent('what is done to the streams of some clients', { timeout: 60_000 }, () => {
  const shared = sharedHosted();

  it.each([
    [
      '100%',
      {
        lost: 3,
        doubled: 2,
        outOfOrder: 1,
        clientsHit: { losing: 2, doubling: 1, disordered: 1, mostLost: 2 },
      },
    ],
    // One of ten is checked, and nothing happens to it: what is lost shows in the bytes, and so
    // does what comes again; its order does not.
    [
      '10%',
      {
        lost: 3,
        doubled: 0,
        outOfOrder: 2,
        clientsHit: { losing: 2, doubling: 0, disordered: 0, mostLost: 2 },
      },
    ],
  ])('is counted exactly, with %s checked', async (check, expected) => {
    let held = '';
    const faults: Meddle = (block, nth, stream) => {
      if (stream === 3) return nth === 5 ? [] : [block];
      if (stream === 4) return nth === 7 || nth === 8 ? [] : [block];
      if (stream === 6) return nth === 8 ? [block, block, block] : [block];
      if (stream !== 8) return [block];
      if (nth === 10) held = block;
      return nth === 10 ? [] : nth === 11 ? [block, held] : [block];
    };
    const { server: proxy } = meddlingProxy(shared().port, faults);
    const args = words(`--connections 10 --rate 40 --duration 500ms --check ${check}`);
    const { status, report } = await load([
      '--url',
      `${await listen(proxy)}/faults-${check.length}`,
      ...args,
    ]);
    expect({ status, report }).toMatchObject({
      status: 1,
      report: {
        flawless: false,
        published: 20,
        expected: 200,
        delivered: 197,
        gapLost: 0,
        ...expected,
      },
    });
  });

  it.each(['100%', '10%'])(
    'is a gap where the server says so, after a return, with %s checked',
    async (check) => {
      const firstWithheld = new Map<number, number>();
      const faults: Meddle = (block, nth, stream) => {
        const id = Number(/^id: (\d+)$/m.exec(block)![1]);
        if (stream < 10 || nth > 4) return [block];
        if (nth === 1) firstWithheld.set(stream, id);
        // The first three after the return do not come; the proxy says so with the fourth.
        if (nth < 4) return [];
        return [
          `event: gap\ndata: {"after":${firstWithheld.get(stream)! - 1},"before":${id}}`,
          block,
        ];
      };
      const { server: proxy, streams } = meddlingProxy(shared().port, faults);
      const url = `${await listen(proxy)}/gap-${check.length}`;
      const args = words(`--connections 10 --rate 100 --duration 1s --herd 400ms --check ${check}`);
      const { status, report } = await load(['--url', url, ...args]);
      expect({ status, report }).toMatchObject({
        status: 1,
        report: {
          published: 100,
          expected: 1000,
          delivered: 970,
          gapLost: 30,
          lost: 0,
          doubled: 0,
          gaps: 10,
        },
      });
      expect(streams).toHaveLength(20);
      expect(streams.slice(0, 10)).toEqual(Array.from({ length: 10 }));
      for (const position of streams.slice(10)) expect(position).toMatch(/^\d+$/);
    },
  );

  it('is lost where a server keeps nothing for those who come back', async () => {
    const url = await startOther({ idOf: String, replay: () => [], backAfter: 20 });
    const { status, report } = await loadOther(
      url,
      '--connections 10 --rate 200 --duration 1s --herd 300ms',
    );
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 200, expected: 2000, gapLost: 0, doubled: 0 },
    });
    // And those that came before the server knew that they were back.
    expect(report.lost).toBeGreaterThanOrEqual(10 * 20);
    expect(report.lost).toBe(report.expected - report.delivered);
    expect(report.clientsHit.losing).toBe(10);
  });

  it('is doubled where a server gives those who come back everything again', async () => {
    const url = await startOther({ idOf: String, replay: (taken) => taken });
    const { status, report } = await loadOther(
      url,
      '--connections 10 --rate 200 --duration 1s --herd 500ms',
    );
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { lost: 0, delivered: 2000, outOfOrder: 0 },
    });
    // About half of the events had come when they left, on a machine that is not under load.
    expect(report.doubled).toBeGreaterThan(10 * 10);
    expect(report.doubled).toBeLessThan(10 * 200);
    expect(report.clientsHit.doubling).toBe(10);
  });

  it('is waited for no longer because of heartbeats', async () => {
    // Of four the first is checked, and it is the one that loses.
    const url = await startOther({
      idOf: String,
      heartbeatMs: 100,
      give: (text, nth, client, write) => {
        if (client !== 0 || nth !== 5) write(text(nth));
      },
    });
    const { status, report } = await loadOther(
      url,
      '--connections 4 --check 25% --rate 40 --duration 500ms',
    );
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 20, delivered: 79, lost: 1 },
    });
  });

  it('is unknown where counted clients come back without knowing where they have been', async () => {
    const other = await startOther({});
    const { status, report, stderr } = await loadOther(
      other,
      '--connections 10 --check 10% --rate 50 --duration 1s --herd 500ms',
    );
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { flawless: false, unknownClients: 9, expected: report.published },
    });
    expect(stderr).toMatch(
      /^holdline: 9 clients reconnected without knowing their position, .* in no figure; --check 100% reads it$/m,
    );
  });

  it('is not flawless where counted clients come back and publishes are answered without ids', async () => {
    const url = await startOther({
      idOf: String,
      replay: (taken, after) => taken.filter((nth) => nth > after),
    });
    const { status, report } = await loadOther(
      url,
      '--connections 10 --check 10% --rate 50 --duration 1s --herd 500ms',
    );
    // Nothing is wrong with the one that is checked.
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { ...FLAWLESS, flawless: false, unknownClients: 9, published: 50, delivered: 50 },
    });
  });

  it('is seen to miss what a counted client lost before it left', async () => {
    // Of ten the first is checked; who comes back has a higher number.
    const url = await startOther({
      idOf: String,
      receiptOf: (nth) => `{"id":${nth}}`,
      replay: (taken, after) => taken.filter((nth) => nth > after),
      give: (text, nth, client, write) => {
        if (client !== 3 || nth !== 5) write(text(nth));
      },
    });
    const { status, report } = await loadOther(
      url,
      '--connections 10 --check 10% --rate 50 --duration 1s --herd 500ms',
    );
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 50, delivered: 499, lost: 1, outOfOrder: 0, unknownClients: 0 },
    });
  });

  it('is seen where ids are text, too', async () => {
    const swapped: OtherParts = {
      idOf: (nth) => `x${nth}`,
      give: (text, nth, client, write) => {
        if (client === 1 && nth === 5) return;
        if (client !== 2 || (nth !== 7 && nth !== 8)) write(text(nth));
        else if (nth === 8) for (const one of [8, 7]) write(text(one));
      },
    };
    const url = await startOther(swapped);
    const { status, report } = await loadOther(url, '--connections 4 --rate 40 --duration 500ms');
    expect({ status, report }).toMatchObject({
      status: 1,
      report: { published: 20, delivered: 79, lost: 1, doubled: 0, outOfOrder: 1 },
    });
  });
});

describe.concurrent('clients that do not read as they should', () => {
  const small = sharedHosted({ 'socket-send-buffer': '16KiB' });
  const shared = sharedHosted();
  const ARGS = '--processes 2 --connections 40 --rate 100 --size 4KiB --duration 2s --check 50%';
  const OTHERS = { ...FLAWLESS, published: 200, expected: 36 * 200, delivered: 36 * 200 };

  it('may read nothing, are accounted for apart, and nobody else loses anything', async () => {
    const server = small();
    const { status, report } = await load(words(`--url ${server.url}/c --stalled 10% ${ARGS}`));
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...OTHERS, mix: { stalled: { clients: 4 }, slow: { clients: 0, delivered: 0 } } },
    });
    // Each is owed 800 KiB, and no queue takes that.
    expect((await server.stats()).counters.lines_stalled_total).toBeGreaterThanOrEqual(4);
  });

  it('may read slowly, and then get less', async () => {
    const { status, report } = await load(
      words(`--url ${shared().url}/c --slow-readers 10%:8KiB/s ${ARGS}`),
    );
    expect({ status, report }).toMatchObject({
      status: 0,
      report: {
        ...OTHERS,
        mix: { stalled: { clients: 0 }, slow: { clients: 4, bytesPerSecond: 8192 } },
      },
    });
    // Two events a second and client, in the 2 s of publishing and what comes after them; each is
    // owed 200.
    const { delivered } = report.mix!.slow;
    expect(delivered).toBeGreaterThanOrEqual(4);
    expect(delivered).toBeLessThan(4 * 100);
  });
});

describe('clients that come and go', { timeout: 60_000 }, () => {
  const shared = sharedHosted();

  it.each(['sse', 'long-poll'] as const)('lose nothing over %s', async (transport) => {
    const args = `--transport ${transport} --processes 2 --connections 200 --rate 50 --duration 1s --reconnect 100%/min`;
    const { status, report } = await load(words(`--url ${shared().url}/come-${transport} ${args}`));
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 50, delivered: 10_000 },
    });
    // Of the hundred of each process one every 0.6 s, the first at half of that; publishing may end
    // late.
    expect(report.mix!.reconnects.returns).toBeGreaterThanOrEqual(4);
    expect(report.mix!.reconnects.returns).toBeLessThan(10);
  });

  it.concurrent.each([
    ['sse', '5%'],
    ['ndjson', '5%'],
    ['ws', '5%'],
    ['ws', '100%'],
    ['long-poll', '100%'],
  ] as const)(
    'lose nothing over %s when all come back at once, with %s checked',
    async (transport, check) => {
      const args = `--transport ${transport} --connections 60 --rate 100 --duration 1s --herd 400ms --check ${check}`;
      const { status, report } = await load(
        words(`--url ${shared().url}/herd-${transport}-${check.length} ${args}`),
      );
      expect({ status, report }).toMatchObject({
        status: 0,
        report: { ...FLAWLESS, published: 100, delivered: 6000, herd: { clients: 60 } },
      });
      const { atSeconds, leftSeconds, backSeconds, caughtUpSeconds } = report.herd!;
      // A timer may be a little early.
      expect(atSeconds).toBeGreaterThan(0.39);
      expect(leftSeconds).toBeGreaterThan(0);
      expect(backSeconds).toBeGreaterThan(0);
      expect(caughtUpSeconds).toBeGreaterThanOrEqual(backSeconds!);
    },
  );

  it('are not taken for a herd that comes back', async () => {
    const args =
      '--processes 2 --connections 200 --rate 20 --duration 4s --herd 200ms --reconnect 100%/min';
    const { status, report } = await load(words(`--url ${shared().url}/both ${args}`));
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, delivered: 16_000, herd: { clients: 200 } },
    });
    expect(report.mix!.reconnects.returns).toBeGreaterThan(200);
    // The last to leave by itself does so after 3.9 s.
    expect(report.herd!.backSeconds).toBeLessThan(2.5);
  });
});

describe('a server of another make', () => {
  it.concurrent.each([
    ['ids that are text', { idOf: (nth: number) => `${1_700_000_000 + nth}:${nth}` }],
    ['ids that rise', { idOf: String }],
    ['no ids', {}],
    ['line breaks of two characters', { idOf: (nth: number) => `x${nth}`, lineBreak: '\r\n' }],
  ])('is driven at its own paths, with %s', async (_name, parts: OtherParts) => {
    const url = await startOther(parts);
    const args = [
      '--publish-url',
      `${url}/publish?id=c`,
      ...words('--processes 2 --connections 8 --rate 100 --duration 500ms'),
    ];
    const { status, report } = await load(['--url', `${url}/events?id=c&x=1`, ...args]);
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 50, delivered: 400 },
    });
  });

  it('may be better-sse', async () => {
    const channel = createChannel();
    const server = createServer((asked, answer) => {
      if (asked.method !== 'POST') {
        void createSession(asked, answer).then((session) => channel.register(session));
        return;
      }
      let data = '';
      asked.setEncoding('utf8').on('data', (text: string) => (data += text));
      asked.on('end', () => {
        channel.broadcast(data);
        answer.writeHead(204).end();
      });
    });
    const url = await listen(server);
    const { status, report } = await loadOther(url, '--connections 10 --rate 50 --duration 1s');
    expect({ status, report }).toMatchObject({
      status: 0,
      report: { ...FLAWLESS, published: 50, delivered: 500 },
    });
  });
});

/** What a server of another make does in its own way. */
interface OtherParts {
  /** The id of the nth event, from 1; without it there are none. */
  readonly idOf?: (nth: number) => string;
  readonly lineBreak?: string;
  /** How often a comment is written to all but the first. */
  readonly heartbeatMs?: number;
  /**
   * What one who comes with a position gets of the numbers of events so far; without it, what it
   * asks for.
   */
  readonly replay?: (taken: readonly number[], after: number) => readonly number[];
  /** The body of the answer to the nth publish; by default a sentence. */
  readonly receiptOf?: (nth: number) => string;
  /** How many events one who comes back waits for the head of its answer. */
  readonly backAfter?: number;
  /** Writes the nth event to a client; by default once. */
  readonly give?: (
    text: (nth: number) => string,
    nth: number,
    client: number,
    write: (text: string) => void,
  ) => void;
}

/** Event streams at /events, and a POST to /publish, answered with 202 and a sentence; its URL. */
async function startOther(parts: OtherParts): Promise<string> {
  const {
    idOf,
    lineBreak = '\n',
    heartbeatMs,
    replay,
    receiptOf = () => 'queued messages: 1\n',
    backAfter = 0,
    give = (text, nth, _client, write) => write(text(nth)),
  } = parts;
  const events: string[] = [];
  const streams: ServerResponse[] = [];
  const waiting: { readonly from: number; begin(this: void): void }[] = [];
  const textOf = (nth: number): string => {
    const id = idOf === undefined ? [] : [`id: ${idOf(nth)}`];
    return [...id, `data: ${events[nth - 1]}`, '', ''].join(lineBreak);
  };
  const heartbeat = (): void => {
    for (const stream of streams.slice(1)) stream.write(`: ${'hi'.repeat(50)}\n\n`);
  };
  if (heartbeatMs !== undefined) setInterval(heartbeat, heartbeatMs).unref();
  const server: Server = createServer((asked, answer) => {
    const path = new URL(asked.url!, 'http://x').pathname;
    if (asked.method === 'POST' && path === '/publish') {
      let data = '';
      asked.setEncoding('latin1').on('data', (text: string) => (data += text));
      asked.on('end', () => {
        const nth = events.push(data);
        for (const { from, begin } of waiting) if (from === nth) begin();
        for (const [client, stream] of streams.entries())
          give(textOf, nth, client, (text) => stream.write(text));
        answer.writeHead(202).end(receiptOf(nth));
      });
    } else if (path === '/events') {
      const after = asked.headers['last-event-id'];
      const isBack = after !== undefined;
      const begin = (): void => {
        answer.writeHead(200, { 'Content-Type': 'text/event-stream' });
        answer.flushHeaders();
        // A connection that is gone is written to in vain, which Node does not mind.
        streams.push(answer);
        const numbers = events.map((_, index) => index + 1);
        if (isBack)
          for (const nth of replay?.(numbers, Number(after)) ?? []) answer.write(textOf(nth));
      };
      if (isBack && backAfter > 0) waiting.push({ from: events.length + backAfter, begin });
      else begin();
    } else {
      answer.writeHead(404).end();
    }
  });
  return listen(server);
}
