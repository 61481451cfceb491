/**
 * Fifty publish over WebSockets at once, and a hundred listen on two transports: there is one order
 * of ids, and everyone sees it.
 */
import { expect, onTestFinished, test } from 'vitest';
import { SseLine } from './support/line.js';
import { hostedForTest } from './support/hosted.js';
import { openWebSocket } from './support/websocket.js';

const PUBLISHERS = 50;
const EVENTS_EACH = 40;
const EVENTS = PUBLISHERS * EVENTS_EACH;

test('50 WebSocket clients publish 2,000 events, and 50 SSE clients and they themselves see one order of ids', async () => {
  const server = await hostedForTest({ 'replay-events': 2 * EVENTS });
  const publishers = await Promise.all(
    Array.from({ length: PUBLISHERS }, () => openWebSocket(server, '/order')),
  );
  const listeners = await Promise.all(
    Array.from({ length: PUBLISHERS }, () => SseLine.open(server.port, '/order')),
  );
  onTestFinished(() => listeners.forEach((line) => line.close()));

  for (let turn = 0; turn < EVENTS_EACH; turn++) {
    for (const [i, publisher] of publishers.entries())
      publisher.send(JSON.stringify({ publish: { data: { from: i, turn } }, ref: turn }));
  }
  for (const line of publishers)
    await line.waitFor(
      'all events and replies',
      () => line.eventCount === EVENTS && line.replyCount === EVENTS_EACH,
    );
  for (const line of listeners) await line.waitForEvents(EVENTS);

  const [first] = listeners;
  const order = first!.events.map(({ id, data }) => `${id} ${data}`);
  expect(first!.ids).toEqual(Array.from({ length: EVENTS }, (_, i) => i + 1));
  for (const line of listeners)
    expect([line.gaps, line.events.map(({ id, data }) => `${id} ${data}`)]).toEqual([[], order]);
  for (const line of publishers)
    expect([line.gaps, line.events.map(({ id, data }) => `${id} ${JSON.stringify(data)}`)]).toEqual(
      [[], order],
    );

  // What each publisher was told is what everyone has seen, and its own events stand in the order
  // it sent them in.
  for (const [i, { replies }] of publishers.entries()) {
    expect(replies.map(({ ok }) => ok?.ref)).toEqual(
      Array.from({ length: EVENTS_EACH }, (_, turn) => turn),
    );
    expect(
      replies
        .map(({ ok }) => `${ok!.id} {"from":${i},"turn":${ok!.ref}}`)
        .filter((event) => order[Number.parseInt(event, 10) - 1] !== event),
    ).toEqual([]);
    const given = replies.map(({ ok }) => ok!.id);
    expect(given).toEqual([...given].sort((a, b) => a - b));
  }
  expect((await server.stats()).counters).toMatchObject({
    events_accepted_total: EVENTS,
    messages_received_total: EVENTS,
    messages_refused_total: 0,
    gaps_total: 0,
  });
});
