/**
 * WebSockets on fake sockets: rights are checked before a message is read, publishes keep their
 * order, bounds hold, and what is unread is counted.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { PublishMemory, Reservation } from '../src/core/publish-memory.js';
import { NOBODY } from '../src/core/owners.js';
import { makeCounters } from '../src/counters.js';
import { HoldlineError } from '../src/errors.js';
import { makeHeldBytes } from '../src/core/held-bytes.js';
import {
  CONTROL_FRAMES_PER_TURN_MAX,
  JSON_DEPTH_MAX,
  REFUSED_MESSAGES_MAX,
  SOCKET_PUBLISH_BYTES_MAX,
  UNREAD_ANSWERS_BYTES_MAX,
  WAITING_MESSAGE_COST_BYTES,
  WAITING_PUBLISHERS_MAX,
} from '../src/limits.js';
import { behaviours, type MessageSocket } from '../src/native/messages.js';
import type { HttpResponse } from '../src/native/uws.js';
import type { RightToPublish } from '../src/http/guard.js';
import { Refusals } from '../src/http/refusals.js';
import { Messages, maxMessageBytes } from '../src/transports/websocket.js';

const EVENT_BYTES = 64 * 1024;
const UNAUTHORIZED = new HoldlineError('HOLDLINE_UNAUTHORIZED', 'no key');

/** What ends a cork, where there is none. */
function outsideOfOne(last: () => void, after: () => void): void {
  last();
  after();
}

/** An exchange that is in its turn. */
function exchangeOf(response: object): Parameters<Messages['open']>[0] {
  return { response: response as HttpResponse, endCork: outsideOfOne, handOver: () => {} };
}

/** A socket that takes everything, or nothing while it is `full`. */
class FakeSocket {
  readonly sent: string[] = [];
  full = false;
  buffered = 0;
  ended: string | undefined;
  constructor(line: object) {
    Object.assign(this, line);
  }
  send(text: string): number {
    this.sent.push(text);
    if (this.full) this.buffered += text.length;
    return this.full ? 0 : 1;
  }
  getBufferedAmount(): number {
    if (this.ended !== undefined) throw new Error('used after its end');
    return this.buffered;
  }
  end(code: number, reason: string): void {
    this.ended = `${code} ${reason}`;
  }
  close(): void {
    this.ended = 'cut';
  }
}

/** What is submitted is answered when the test settles it. */
function setUp(mayPublish?: RightToPublish, endCork = outsideOfOne) {
  const counters = makeCounters();
  const held = makeHeldBytes();
  const memory = new PublishMemory(held);
  const share = { heldBytes: 0 };
  const submitted: { data: string; settle: (error?: Error) => void }[] = [];
  let nextId = 1;
  let joined = 0;
  const hub = {
    channelsOf: () => ['c'],
    drained: () => {},
    join: () => {
      joined++;
      return { handle: 0, continuesAfter: 0, opening: Buffer.alloc(0) };
    },
    left: () => {},
    stalled: () => {},
    startOf: () => ({ continuesAfter: 0 }),
    reserve: () => new Reservation(memory, share),
    reserveAhead: () => new Reservation(memory, memory.unverified),
    admit: (_channel: string, reservation: Reservation) => reservation.moveTo(share),
    submit: async (
      _channel: string,
      { reservation, read }: { reservation: Reservation; read: () => unknown },
    ) => {
      const [event] = (await read()) as [{ data: Uint8Array }];
      await new Promise<void>((resolve, reject) => {
        const settle = (error?: Error): void => (error === undefined ? resolve() : reject(error));
        submitted.push({ data: Buffer.from(event.data).toString(), settle });
      });
      reservation.release();
      return { ids: [nextId++], subscribers: 0 };
    },
  };
  const reported: unknown[] = [];
  const report = (error: unknown): void => void reported.push(error);
  const rates = { isOn: false, take: () => undefined };
  const messages = new Messages(
    hub as unknown as ConstructorParameters<typeof Messages>[0],
    counters,
    held,
    {
      maxEventBytes: EVENT_BYTES,
      rates,
      refusals: new Refusals(counters),
      report,
    },
  );
  const { readers } = behaviours(
    { pingMs: 15_000, maxMessageBytes: maxMessageBytes(EVENT_BYTES) },
    counters,
    messages,
  );
  const chosen: unknown[] = [];
  let fake: FakeSocket | undefined;
  const response = {
    writeStatus: () => response,
    writeHeader: () => response,
    upgrade: (
      line: object,
      _key: string,
      _protocol: string,
      _extensions: string,
      context: unknown,
    ) => {
      chosen.push(context);
      fake = new FakeSocket(line);
      void readers.open!(fake as never);
    },
  };
  const open = () => {
    messages.open(
      { ...exchangeOf(response), endCork },
      {
        channels: ['c'],
        position: { kind: 'latest' } as never,
        owner: NOBODY,
        key: '',
        subprotocol: '',
        headers: [],
        context: { readers: 'readers', publishers: 'publishers' },
        mayPublish,
        source: 'key:publish',
      },
    );
    const socket = fake!;
    const native = socket as unknown as MessageSocket;
    const receive = (text: string): void => {
      const bytes = Buffer.from(text);
      messages.received(
        native,
        bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
        false,
      );
    };
    const close = (): void => readers.close!(native, 1006, new ArrayBuffer(0));
    return { socket, native, receive, close };
  };
  const { socket, native, receive, close } = open();
  const errors = (): string[] =>
    socket.sent.flatMap((line) =>
      line.startsWith('{"error"')
        ? [(JSON.parse(line) as { error: { code: string } }).error.code]
        : [],
    );
  const oks = (): string[] => socket.sent.filter((line) => line.startsWith('{"ok"'));
  return {
    messages,
    open,
    joins: () => joined,
    counters,
    held,
    submitted,
    reported,
    chosen,
    socket,
    native,
    readers,
    receive,
    errors,
    oks,
    close,
  };
}

const publish = (data: unknown, ref?: number): string => JSON.stringify({ publish: { data }, ref });

describe('rights', () => {
  test('who may not publish is held to the behaviour of readers, and nothing of a message is read', () => {
    const { chosen, receive, errors, counters, submitted, socket } = setUp(UNAUTHORIZED);
    expect(chosen).toEqual(['readers']);
    for (const text of [publish(1, 7), 'no JSON', '1', '{"\\u0070ublish":', '['.repeat(20_000)])
      receive(text);
    expect(errors()).toEqual(Array.from({ length: 5 }, () => 'HOLDLINE_UNAUTHORIZED'));
    expect(socket.sent.filter((line) => line.includes('ref'))).toEqual([]);
    expect([submitted, socket.ended, counters.messages_refused_total]).toEqual([[], undefined, 5]);
  });

  test('who may, or is asked about for each channel, has the behaviour of publishers', async () => {
    expect(setUp().chosen).toEqual(['publishers']);
    const asked: string[] = [];
    const { chosen, receive, errors, submitted } = setUp((channel) => {
      asked.push(channel);
      throw new HoldlineError('HOLDLINE_FORBIDDEN', 'no');
    });
    receive(publish(1));
    await turn();
    expect([chosen, asked, errors(), submitted]).toEqual([
      ['publishers'],
      ['c'],
      ['HOLDLINE_FORBIDDEN'],
      [],
    ]);
  });

  test('an upgrade without a context is an error here, before it ends the process there', () => {
    const { messages } = setUp();
    const request = {
      channels: ['c'],
      key: '',
      headers: [],
      context: { readers: 'r' },
      mayPublish: undefined,
    };
    expect(() => messages.open(exchangeOf({}), request as never)).toThrow(/without a context/);
  });
});

test('a socket joins when the cork of its handshake is over, if it is open then', () => {
  for (const isOpen of [true, false]) {
    let end = (): void => {};
    const { joins, close } = setUp(undefined, (last, after) => {
      last();
      end = after;
    });
    expect(joins()).toBe(0);
    if (!isOpen) close();
    end();
    expect(joins()).toBe(Number(isOpen));
  }
});

describe('refused messages', () => {
  test('close a WebSocket when there are many, one after the other, and nothing after that is looked at', async () => {
    const { receive, errors, socket, counters, submitted } = setUp();
    for (let i = 1; i < REFUSED_MESSAGES_MAX; i++) receive('1');
    expect(socket.ended).toBeUndefined();
    receive(publish('good'));
    await turn();
    submitted[0]!.settle();
    await turn();
    for (let i = 1; i < REFUSED_MESSAGES_MAX; i++) receive('{}');
    expect(socket.ended, 'one that was published begins the count again').toBeUndefined();
    for (let i = 0; i < 3; i++) receive('{}');
    expect(socket.ended).toBe('1008 HOLDLINE_BAD_MESSAGE');
    expect(errors().length).toBe(2 * REFUSED_MESSAGES_MAX - 1);
    expect(counters).toMatchObject({
      websockets_closed_refused_total: 1,
      messages_received_total: 2 * REFUSED_MESSAGES_MAX,
    });
  });

  test('close it at the first that is no JSON', () => {
    const { receive, errors, socket, counters } = setUp();
    receive('{"publish":');
    receive(publish(1));
    expect([errors(), socket.ended]).toEqual([['HOLDLINE_BAD_JSON'], '1008 HOLDLINE_BAD_JSON']);
    expect(counters.websockets_closed_refused_total).toBe(1);
  });

  test('do not close it when they may succeed later', async () => {
    const { receive, socket, submitted, errors } = setUp();
    for (let i = 0; i < 3 * REFUSED_MESSAGES_MAX; i++) receive(publish(i));
    for (let i = 0; i < 3 * REFUSED_MESSAGES_MAX; i++) {
      await turn();
      submitted[i]!.settle(new HoldlineError('HOLDLINE_PUBLISH_BUSY', 'later'));
    }
    await turn();
    expect([errors().length, socket.ended]).toEqual([3 * REFUSED_MESSAGES_MAX, undefined]);
  });

  test.each([
    ['deep', `{"publish":{"data":${'['.repeat(JSON_DEPTH_MAX)}${']'.repeat(JSON_DEPTH_MAX)}}}`],
    [
      'deep, with an escaped name',
      `{"\\u0070ublish":{"data":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`,
    ],
    ['deep where nothing is looked for', `{"ref":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`],
  ])('%s: refused, and never a fault of the server', async (_name, text) => {
    const { receive, errors, reported, submitted } = setUp();
    receive(text);
    await turn();
    expect([errors(), reported, submitted]).toEqual([['HOLDLINE_BAD_MESSAGE'], [], []]);
  });
});

describe('publishes', () => {
  test('are carried out one after the other, in their order, with the bytes and the ref that came', async () => {
    const { receive, submitted, oks } = setUp();
    receive('{"publish":{"data":1.0},"ref":1.0}');
    receive('{"ref":"\\u0061","publish":{"d\\u0061ta":12345678901234567890}}');
    receive('{"publish":{"data":"a\\nb"}}');
    for (let i = 0; i < 3; i++) {
      await turn();
      expect(submitted.length).toBe(i + 1);
      submitted[i]!.settle();
    }
    await turn();
    expect(submitted.map(({ data }) => data)).toEqual(['1.0', '12345678901234567890', 'a\nb']);
    expect(oks()).toEqual([
      '{"ok":{"ref":1.0,"id":1}}\n',
      '{"ok":{"ref":"\\u0061","id":2}}\n',
      '{"ok":{"id":3}}\n',
    ]);
  });

  test('wait up to a bound, in memory that is accounted; what is over it is told to come later, and one always may', async () => {
    const { receive, submitted, errors, oks, held } = setUp();
    const data = 'x'.repeat(32 * 1024 - WAITING_MESSAGE_COST_BYTES);
    const fit = SOCKET_PUBLISH_BYTES_MAX / (32 * 1024);
    for (let i = 0; i < fit + 3; i++) receive(publish(data, i));
    expect(errors()).toEqual(Array.from({ length: 3 }, () => 'HOLDLINE_PUBLISH_BUSY'));
    expect(held.publishes).toBe(SOCKET_PUBLISH_BYTES_MAX);
    for (let i = 0; i < fit; i++) {
      await turn();
      submitted[i]!.settle();
    }
    await turn();
    expect([oks().length, held.publishes]).toEqual([fit, 0]);
    receive(publish(data));
    expect(held.publishes).toBe(32 * 1024);
  });

  test('that wait when their socket closes are withdrawn with their memory, and counted', async () => {
    const { receive, submitted, close, held, counters, oks } = setUp();
    for (let i = 0; i < 5; i++) receive(publish(i));
    await turn();
    close();
    await turn();
    // The first is in the log's hands, and comes to be published.
    expect([held.publishes, counters.messages_withdrawn_total]).toEqual([0, 4]);
    submitted[0]!.settle();
    await turn();
    expect([submitted.length, oks()]).toEqual([1, []]);
    expect(counters.publish_requests_total).toBe(1);
  });

  test('that wait for a program that never answers give up their places when their sockets close', async () => {
    const answers: { resolve: () => void; reject: (error: Error) => void }[] = [];
    const { open, receive, submitted, errors, held, counters, reported } = setUp(
      () => new Promise((resolve, reject) => answers.push({ resolve, reject })),
    );
    const waiting = Array.from({ length: WAITING_PUBLISHERS_MAX }, open);
    for (const socket of waiting) socket.receive(publish(1));
    receive(publish(2));
    await turn();
    expect([answers.length, errors()]).toEqual([WAITING_PUBLISHERS_MAX, ['HOLDLINE_PUBLISH_BUSY']]);
    for (const { close } of waiting) close();
    await turn();
    expect([held.publishes, counters.messages_withdrawn_total]).toEqual([0, waiting.length]);
    receive(publish(3));
    await turn();
    answers.pop()!.resolve();
    await turn();
    expect(submitted.map(({ data }) => data)).toEqual(['3']);
    // What a program answers after all publishes nothing; its faults are told.
    answers.pop()!.resolve();
    const fault = new Error('database');
    answers.pop()!.reject(fault);
    answers.pop()!.reject(new HoldlineError('HOLDLINE_FORBIDDEN', 'no'));
    await turn();
    expect([submitted.length, reported]).toEqual([1, [fault]]);
    expect([errors().length, counters.messages_refused_total]).toEqual([1, 1]);
  });

  test('that end in an error when their socket is gone are no refusals: nobody is told', async () => {
    const { receive, submitted, close, counters, socket, reported } = setUp();
    receive(publish(1));
    await turn();
    close();
    await turn();
    submitted[0]!.settle(new HoldlineError('HOLDLINE_PUBLISH_BUSY', 'the publisher has left'));
    await turn();
    expect([counters.messages_refused_total, counters.refused, socket.sent]).toEqual([0, {}, []]);

    // A fault is told to the program all the same.
    const other = setUp();
    other.receive(publish(1));
    await turn();
    other.close();
    const fault = new Error('disk');
    other.submitted[0]!.settle(fault);
    await turn();
    expect([other.reported, other.counters.messages_refused_total]).toEqual([[fault], 0]);
    expect(reported).toEqual([]);
  });
});

describe('what is not read', () => {
  test('is accounted until it is, or the socket is gone', async () => {
    const { receive, socket, native, readers, held, submitted, close } = setUp();
    socket.full = true;
    receive(publish(1));
    await turn();
    submitted[0]!.settle();
    await turn();
    expect(held.messages).toBe(socket.sent[0]!.length);
    receive('{}');
    expect(held.messages).toBe(socket.buffered);
    socket.buffered = 10;
    readers.drain!(native);
    expect(held.messages).toBe(10);
    socket.buffered = 0;
    readers.drain!(native);
    expect([held.messages, native.unread.sockets]).toEqual([0, 0]);
    receive('{}');
    expect(held.messages).toBeGreaterThan(0);
    close();
    expect([held.messages, native.unread.sockets]).toEqual([0, 0]);
  });

  test('closes a client for its answers and pongs, and not for its events', async () => {
    const { socket, native, readers, counters, held } = setUp(UNAUTHORIZED);
    socket.full = true;
    socket.buffered = 10 * UNREAD_ANSWERS_BYTES_MAX;
    const payload = new ArrayBuffer(125);
    const pings = Math.floor(UNREAD_ANSWERS_BYTES_MAX / 127);
    for (let i = 0; i < pings; i++) readers.ping!(native, payload);
    expect([socket.ended, held.messages]).toEqual([undefined, 10 * UNREAD_ANSWERS_BYTES_MAX]);
    await turn();
    readers.ping!(native, payload);
    expect(socket.ended).toBe('1013 pongs are not read');
    expect(counters.websockets_closed_unread_total).toBe(1);
  });

  test('is counted once where the native layer drops', () => {
    const { native, readers, counters } = setUp();
    for (let i = 0; i < 3; i++) void readers.dropped!(native, new ArrayBuffer(1), false);
    expect([native.isOpen, counters.websockets_closed_unread_total]).toEqual([false, 1]);
  });
});

test('more pings and pongs in one turn than anybody needs cut a client off; as many in several turns do not', async () => {
  const { socket, native, readers, counters } = setUp(UNAUTHORIZED);
  const payload = new ArrayBuffer(0);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < CONTROL_FRAMES_PER_TURN_MAX / 2; i++) {
      readers.ping!(native, payload);
      readers.pong!(native, payload);
    }
    await turn();
  }
  expect(socket.ended).toBeUndefined();
  for (let i = 0; i < 2 * CONTROL_FRAMES_PER_TURN_MAX; i++) readers.ping!(native, payload);
  expect([socket.ended, counters.websockets_closed_control_total]).toEqual(['cut', 1]);
});
