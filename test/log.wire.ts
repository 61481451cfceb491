/**
 * A server on a log of its own that opens late, goes down and comes back: what clients, operators
 * and the program see.
 */
import { SignJWT } from 'jose';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HoldlineError, type Server } from '../dist/index.js';
import { createServerOn } from '../dist/server/server.js';
import type { LogRow, LogRows } from '../src/core/event-log.js';
import { KeepingLog, KeepingStore, type Faults } from './support/keeping-log.js';
import { SseLine } from './support/line.js';
import { readMetrics } from './support/prometheus.js';
import { WebSocketLine } from './support/websocket.js';
import { codeOf, jsonOf, request, type Answer, type RequestParts } from './support/wire.js';
import { until } from './support/until.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const OPS_KEY = 'ops-key';
const OPS = { Authorization: `Bearer ${OPS_KEY}` };

type Fault = 'HOLDLINE_LOG_UNAVAILABLE' | 'HOLDLINE_OUTCOME_UNKNOWN' | 'HOLDLINE_BAD_LOG';

/** A log that can be taken down, with errors of the server's own class. */
class FailingLog extends KeepingLog {
  fault: Fault | undefined;
  openFault: Fault | undefined;
  figures = { events: 0, bytes: 0 };
  /** Rows that several logs share. */
  readonly rows: LogRows;

  constructor(faults: Faults = {}, shared = new Map<string, LogRow>()) {
    super(new KeepingStore(1), faults);
    this.rows = {
      onChange: undefined,
      load: (kind) => Promise.resolve([...shared.values()].filter((row) => row.kind === kind)),
      put: (kind, key, value, untilMs) => {
        if (this.fault !== undefined) return Promise.reject(this.#error(this.fault));
        shared.set(`${kind} ${key}`, { kind, key, value, untilMs });
        return Promise.resolve();
      },
    };
  }

  #error(fault: Fault): Error {
    return new HoldlineError(fault, 'the disk is full; try again later');
  }

  goDown(fault: Fault): void {
    this.fault = fault;
    this.state = { isUp: false, problem: 'the disk is full' };
  }

  comeBack(): void {
    this.fault = undefined;
    this.state = { isUp: true, problem: '' };
  }

  override open(): Promise<void> {
    return this.openFault === undefined
      ? super.open()
      : Promise.reject(this.#error(this.openFault));
  }

  override append(...what: Parameters<KeepingLog['append']>): Promise<readonly number[]> {
    if (this.fault !== undefined) return Promise.reject(this.#error(this.fault));
    this.figures = { events: this.figures.events + what[0].length, bytes: 4096 };
    return super.append(...what);
  }
}

interface Running {
  readonly server: Server;
  readonly log: FailingLog;
  readonly port: number;
  readonly warnings: string[];
  readonly ask: (method: string, path: string, parts?: RequestParts) => Promise<Answer>;
}

type Options = NonNullable<Parameters<typeof createServerOn>[1]>;

function made(log: FailingLog, options: Options = {}): { server: Server; warnings: string[] } {
  const warnings: string[] = [];
  const server = createServerOn(log, {
    port: 0,
    openPublish: true,
    opsKey: OPS_KEY,
    heartbeatMs: 100,
    onWarning: (words) => warnings.push(words),
    ...options,
  });
  onTestFinished(() => server.close({ drainMs: 0 }));
  return { server, warnings };
}

async function running(log = new FailingLog(), options: Options = {}): Promise<Running> {
  const { server, warnings } = made(log, options);
  const { port } = await server.listen();
  const ask: Running['ask'] = (method, path, parts) => request(port, method, path, parts);
  return { server, log, port, warnings, ask };
}

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

describe('the start', () => {
  test('listen waits for the log; what the program publishes before opens it, too', async () => {
    const log = new FailingLog({ openMs: () => 50 });
    const { server } = made(log);
    const first = server.channel('a').publish({ data: 'before' });
    const { port } = await server.listen();
    expect(log.isOpen).toBe(true);
    expect(await first).toBe(1);
    const answer = await request(port, 'GET', '/a?since=0&limit=9');
    expect(jsonOf(answer)).toMatchObject([{ id: 1, data: 'before' }]);
  });

  test('the program may subscribe before, and its line joins when the log is open', async () => {
    const log = new FailingLog({ openMs: () => 30 });
    const { server } = made(log);
    const channel = server.channel('a');
    const subscription = channel.subscribe();
    const history = channel.history();
    expect(await history).toMatchObject({ events: [] });
    await channel.publish({ data: 'x' });
    const { value } = await subscription.next();
    expect(value).toMatchObject({ id: 1, data: 'x' });
    await subscription.return();
  });

  test('a log that cannot be opened rejects listen and publishes; another attempt may find it', async () => {
    const log = new FailingLog();
    log.openFault = 'HOLDLINE_BAD_LOG';
    const { server } = made(log);
    await expect(server.listen()).rejects.toThrow(code('HOLDLINE_BAD_LOG'));
    const channel = server.channel('a');
    await expect(channel.publish({ data: 'x' })).rejects.toThrow(code('HOLDLINE_BAD_LOG'));
    await expect(channel.delete()).rejects.toThrow(code('HOLDLINE_BAD_LOG'));
    await expect(channel.history()).rejects.toThrow(code('HOLDLINE_BAD_LOG'));
    log.openFault = undefined;
    await server.listen();
    expect(await channel.publish({ data: 'x' })).toBe(1);
  });

  test('a server that is closed while its log opens does not listen', async () => {
    const { server } = made(new FailingLog({ openMs: () => 100 }));
    const listening = server.listen();
    const closed = server.close({ drainMs: 0 });
    await expect(listening).rejects.toThrow(code('HOLDLINE_LISTEN'));
    await closed;
  });
});

describe('while the log is down', () => {
  test.each([
    ['HOLDLINE_LOG_UNAVAILABLE', 503],
    ['HOLDLINE_OUTCOME_UNKNOWN', 504],
  ] as const)('%s reaches every publisher, and the next one is served', async (fault, status) => {
    const { server, log, port, ask } = await running();
    const line = await WebSocketLine.open(port, '/a');
    onTestFinished(() => line.close());
    const batch = { headers: { 'Content-Type': 'application/x-ndjson' } };
    log.goDown(fault);
    for (const [method, path, parts] of [
      ['POST', '/a', { body: 'x' }],
      ['POST', '/a', { ...batch, body: '{"data":1}\n{"data":2}\n' }],
      ['POST', '/a', { body: 'x', headers: { 'Idempotency-Key': 'k' } }],
      ['POST', '/-/publish', { ...batch, body: '{"channel":"b","data":1}\n' }],
      ['DELETE', '/a', { headers: OPS }],
    ] as const) {
      const answer = await ask(method, path, parts);
      expect([path, answer.status, codeOf(answer)]).toEqual([path, status, fault]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect((await line.ask('{"publish":{"data":"x"}}')).error?.code).toBe(fault);
    await expect(server.channel('a').publish({ data: 'x' })).rejects.toThrow(code(fault));
    log.comeBack();
    const repeated = { body: 'x', headers: { 'Idempotency-Key': 'k' } };
    expect((await ask('POST', '/a', repeated)).status).toBe(200);
    expect((await line.ask('{"publish":{"data":"x"}}')).ok).toBeDefined();
  });

  test('lines are held and told nothing false, and operators see why', async () => {
    const { server, log, port, warnings, ask } = await running();
    await ask('POST', '/a', { body: 'first' });
    const line = await SseLine.open(port, '/a?since=0');
    onTestFinished(() => line.close());
    await line.waitForEvents(1);
    expect(jsonOf(await ask('GET', '/-/ready'))).toEqual({ status: 'ready', log: 'up' });
    expect(server.stats().log).toMatchObject({ up: true, problem: null, events: 1, bytes: 4096 });

    log.goDown('HOLDLINE_LOG_UNAVAILABLE');
    const ready = await ask('GET', '/-/ready');
    const told = { status: 'degraded', log: 'down', problem: 'the disk is full' };
    expect([ready.status, jsonOf(ready)]).toEqual([200, told]);
    expect(server.stats().log).toMatchObject({ up: false, problem: 'the disk is full' });
    const metrics = readMetrics((await ask('GET', '/-/metrics', { headers: OPS })).text);
    expect(metrics.get('holdline_log_up')!.samples.get('')).toBe(0);
    expect(metrics.get('holdline_log_events')!.samples.get('')).toBe(1);
    await until('the warning', () => warnings.length > 0);
    expect(warnings).toEqual([
      'the log is down, and publishes are refused with 503: the disk is full',
    ]);
    const { heartbeats_total: before } = server.stats().counters;
    await until('heartbeats', () => server.stats().counters.heartbeats_total > before + 1);
    expect([line.closed, line.gaps, line.ids]).toEqual([false, [], [1]]);

    log.comeBack();
    await ask('POST', '/a', { body: 'second' });
    await line.waitForEvents(2);
    await until('the second warning', () => warnings.length > 1);
    expect(warnings[1]).toMatch(/^the log takes events again, after \d+ s$/);
    expect([line.gaps, line.ids]).toEqual([[], [1, 2]]);
  });
});

describe('a revocation', () => {
  const token = (user: string): Promise<string> => {
    const iat = Math.floor(Date.now() / 1000) - 10;
    const rights = { subscribe: ['**'], publish: ['**'] };
    return new SignJWT({ sub: user, iat, exp: iat + 600, holdline: rights })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(SECRET));
  };
  const revoke = ({ ask }: Running, user: string): Promise<Answer> =>
    ask('DELETE', `/-/connections?user=${user}`, { headers: OPS });
  const readerOf = async (user: string) => ({
    headers: { Authorization: `Bearer ${await token(user)}` },
  });

  test('outlives the server, and ends lines on another one that shares the log', async () => {
    const shared = new Map<string, LogRow>();
    const one = await running(new FailingLog({}, shared), { jwtSecret: SECRET });
    const other = await running(new FailingLog({}, shared), { jwtSecret: SECRET });
    const reader = await readerOf('ada');
    const line = await SseLine.open(other.port, '/a', reader);
    expect(jsonOf(await revoke(one, 'ada'))).toEqual({ ended: 0, user: 'ada' });
    other.log.rows.onChange?.([...shared.values()][0]!);
    await line.waitFor('the end', () => line.endCode === 'revoked');
    const next = await running(new FailingLog({}, shared), { jwtSecret: SECRET });
    for (const { ask } of [one, other, next])
      expect(codeOf(await ask('GET', '/a?wait=0', reader))).toBe('HOLDLINE_REVOKED');
    expect((await next.ask('GET', '/a?wait=0', await readerOf('bob'))).status).toBe(204);
  });

  test('that comes while the log is read for a poll refuses the poll, whatever was found', async () => {
    let reads = 0;
    // The first one fills the ring, before the poll looks for its answer.
    const log = new FailingLog({ readMs: () => (++reads === 1 ? 0 : 300) });
    const server = await running(log, { jwtSecret: SECRET, replayEvents: 1 });
    for (let i = 0; i < 40; i++) await server.server.channel('a').publish({ data: i });
    const reader = await readerOf('ada');
    const poll = server.ask('GET', '/a?since=1&limit=9', reader);
    await until('the read', () => reads > 1);
    expect((await revoke(server, 'ada')).status).toBe(200);
    await server.server.channel('a').publish({ data: 'secret' });
    const answer = await poll;
    expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_REVOKED']);
  });

  test('that comes while the log is asked for an idempotency key refuses the publish', async () => {
    let reads = 0;
    const log = new FailingLog({
      readMs: () => {
        reads++;
        return 300;
      },
    });
    const server = await running(log, { jwtSecret: SECRET, openPublish: false });
    const { headers } = await readerOf('ada');
    const batch = { ...headers, 'Content-Type': 'application/x-ndjson', 'Idempotency-Key': 'b' };
    const body = '{"channel":"a","data":"late"}';
    const publishes = [
      server.ask('POST', '/-/publish', { headers: batch, body }),
      server.ask('POST', '/a', { headers: { ...headers, 'Idempotency-Key': 'a' }, body }),
    ];
    await until('both to be looked for', () => reads > 1);
    expect((await revoke(server, 'ada')).status).toBe(200);
    for (const answer of await Promise.all(publishes))
      expect([answer.status, codeOf(answer)]).toEqual([403, 'HOLDLINE_REVOKED']);
    expect(log.figures.events).toBe(0);
  });

  test('counts at once while the log is down, and its operator is asked to repeat it', async () => {
    const server = await running(new FailingLog(), { jwtSecret: SECRET });
    const reader = await readerOf('ada');
    const line = await SseLine.open(server.port, '/a', reader);
    server.log.goDown('HOLDLINE_LOG_UNAVAILABLE');
    const answer = await revoke(server, 'ada');
    expect([answer.status, codeOf(answer)]).toEqual([503, 'HOLDLINE_LOG_UNAVAILABLE']);
    await line.waitFor('the end', () => line.endCode === 'revoked');
    server.log.comeBack();
    expect((await revoke(server, 'ada')).status).toBe(200);
  });
});
