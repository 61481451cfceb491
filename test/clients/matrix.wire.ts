/**
 * Clients of all makes against a server: what each is given when it connects, comes back, meets a
 * full or a draining server, or a deleted channel. The cells go into test/CLIENTS.md.
 */
import { afterAll, beforeAll, test } from 'vitest';
import { SseLine, stalledLine } from '../support/line.js';
import type { Stats } from '../support/server.js';
import { HttpClient, jsonOf } from '../support/wire.js';
import { expectCells, type Scenario } from './support/cells.js';
import { closeBrowser, openBrowser, type Make } from './support/makes.js';
import { BACK_MS, RETRY_MS, serverWith, Session } from './support/session.js';

beforeAll(openBrowser, 30_000);
afterAll(closeBrowser);

const TEST_MS = 120_000;

/** A window in which requests are counted, ms. */
const WINDOW_MS = 5 * RETRY_MS;

function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const counted = (count: number): string => `${count} request${count === 1 ? '' : 's'}`;

/** A scenario for every make; what it expects stands for all but those that are named. */
function scenario(
  name: Scenario,
  promise: string,
  seen: (make: Make) => Promise<string>,
  expected: { readonly others: RegExp } & Readonly<Record<string, RegExp>>,
): void {
  test(`${name}: ${promise}`, () => expectCells(name, seen, expected), TEST_MS);
}

scenario(
  'connect',
  'every event is handed over once, and nothing that has no data',
  async (make) => {
    const session = await Session.open(make, { heartbeat: '100ms' });
    // Blocks that a client could take for events have come by then.
    await session.server.statsUntil('heartbeats', ({ counters }) => counters.heartbeats_total > 2);
    await session.publish(1, 10);
    const came = await session.came(1, 10);
    const lines = (await session.server.stats()).counters.lines_opened_total;
    await session.end();
    return lines === 1 ? came : `${came}, ${lines} connections`;
  },
  { others: /^10 of 10$/ },
);

scenario(
  'replay',
  'cut off after three events, it comes back to the other seven',
  async (make) => {
    const session = await Session.open(make);
    await session.publish(1, 3);
    await session.came(1, 3);
    session.cut();
    await session.publish(4, 10);
    session.restore();
    const came = await session.came(1, 10);
    await session.end();
    return came;
  },
  { others: /^10 of 10$/ },
);

// A client that ignores blocks without data, or is sent none, has no position before its first
// event.
const WITHOUT_POSITION = /^missed: no position yet$/;

scenario(
  'quiet',
  'cut off before its first event, it comes back to what it missed if it has a position',
  async (make) => {
    const session = await Session.open(make);
    const { program, proxy } = session;
    await proxy.waitFor('the prelude', () =>
      proxy.connections.some(({ downBytes }) => downBytes > 0),
    );
    // The prelude has passed the proxy; the client reads it in one of its next turns.
    await pass(100);
    session.cut();
    await session.publish(1, 1);
    session.restore();
    await session.lines(2);
    await session.publish(2, 2);
    await program.waitFor('the second', () => program.numbers.includes(2), BACK_MS);
    await session.end();
    return program.numbers.includes(1) ? 'comes back to it' : 'missed: no position yet';
  },
  {
    eventsource: WITHOUT_POSITION,
    'event-source-polyfill': WITHOUT_POSITION,
    'launchdarkly-eventsource': WITHOUT_POSITION,
    'event-source-plus': WITHOUT_POSITION,
    'eventsource-client': WITHOUT_POSITION,
    others: /^comes back to it$/,
  },
);

scenario(
  'restart',
  'it is told of the gap, and goes on',
  async (make) => {
    const session = await Session.open(make);
    const again = await serverWith({ 'first-id': 1000 });
    await session.publish(1, 2);
    await session.came(1, 2);
    await session.server.drain();
    session.proxy.targetPort = again.port;
    await again.statsUntil('a line', ({ lines }) => lines.open > 0, 2 * BACK_MS);
    await session.publish(3, 5, again);
    const came = await session.came(3, 5);
    await session.end();
    await again.end();
    return `${session.program.notices.join(', ')}, then ${came}`;
  },
  { others: /^end, gap, then 3 of 3$/ },
);

scenario(
  'full',
  'it asks about once each retry, and is served when there is room',
  async (make) => {
    const server = await serverWith({ 'max-connections': 1 });
    const holder = await SseLine.open(server.port, '/c');
    const session = await Session.attach(server, make);
    await server.statsUntil(
      'a refusal',
      ({ counters }) => counters.refused_temporary_total + counters.refusals_held_total > 0,
    );
    const before = (await server.stats()).counters.requests_total;
    await pass(WINDOW_MS);
    const asked = (await server.stats()).counters.requests_total - before - 1;
    holder.close();
    await session.lines(2);
    await session.publish(1, 3);
    const came = await session.came(1, 3);
    await session.end();
    return `${counted(asked)} in 5 retries, then ${came}`;
  },
  { others: /^[1-6] requests? in 5 retries, then 3 of 3$/ },
);

scenario(
  'drain',
  'it is told of the end, and does not hold the server up',
  async (make) => {
    const session = await Session.open(make, { drain: '8s' });
    const { server, program } = session;
    await session.publish(1, 1);
    await session.came(1, 1);
    const stalled = await stalledLine(server);
    const requests = async (client: HttpClient): Promise<number> => {
      const answer = await client.request('GET', '/-/stats', { headers: server.opsHeaders });
      return (jsonOf(answer) as Stats).counters.requests_total;
    };
    // While draining no connection is taken. One that has carried a request is certainly accepted.
    const [first, last] = [await HttpClient.open(server.port), await HttpClient.open(server.port)];
    await requests(last);
    const before = await requests(first);
    const drained = server.drain(12_000);
    await program.waitFor('the end', () => program.notices.includes('end'));
    await pass(WINDOW_MS);
    const asked = (await requests(last)) - before - 1;
    const endsMs = performance.now();
    stalled.close();
    await drained;
    const isLate = performance.now() - endsMs > 2_000;
    await session.end();
    return `${program.notices.join(', ')}, ${counted(asked)}${isLate ? ', holds it up' : ''}`;
  },
  { others: /^end, [0-3] requests?$/ },
);

scenario(
  '204',
  'it is told of the end, and stops if it knows 204',
  async (make) => {
    const session = await Session.open(make);
    const { server, program } = session;
    await session.publish(1, 1);
    await session.came(1, 1);
    await server.deleteChannel('c');
    await program.waitFor('the end', () => program.notices.includes('end'));
    const before = (await server.stats()).counters.requests_total;
    await pass(3_000);
    // One more request gets the 204.
    const asked = (await server.stats()).counters.requests_total - before - 1;
    await session.end();
    return asked <= 1 ? 'stops' : `goes on: ${counted(asked)} in 3 s`;
  },
  {
    '@microsoft/fetch-event-source': /^goes on: [2-9] requests in 3 s$/,
    'event-source-plus': /^goes on: \d\d? requests in 3 s$/,
    others: /^stops$/,
  },
);
