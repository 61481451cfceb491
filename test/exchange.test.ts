/** An exchange whose response was handed over does not touch it any more. */
import { expect, test } from 'vitest';
import { BodyTurns } from '../src/http/body-turns.js';
import { Exchange, type Exchanges } from '../src/http/exchange.js';
import type { Head } from '../src/http/head.js';
import { BODY_PIECES_PER_TURN_MAX } from '../src/limits.js';
import type { HttpResponse } from '../src/native/uws.js';

/** A response that says what was called, and throws once it is over, as the native one does. */
class FakeResponse {
  readonly calls: string[] = [];
  isOver = false;
  take: (bytes: ArrayBuffer, isLast: boolean) => void = () => {};

  #called(name: string): this {
    if (this.isOver) throw new Error(`${name} of a response that is over`);
    this.calls.push(name);
    return this;
  }
  onAborted = (): this => this;
  onData(take: typeof this.take): this {
    this.take = take;
    return this;
  }
  pause = (): this => this.#called('pause');
  resume = (): this => this.#called('resume');
  close = (): this => this.#called('close');
}

function watched(): { exchange: Exchange; response: FakeResponse; pieces: () => void } {
  const response = new FakeResponse();
  const shared = {
    addresses: { forwardedIn: () => undefined, isOneRequest: () => false },
    bodyTurns: new BodyTurns(),
    report: () => {},
  };
  const fields: Record<string, string> = { 'content-length': '100000' };
  const head = {
    method: 'GET',
    get: (name: string) => fields[name] ?? '',
    find: (name: string) => fields[name],
  };
  const exchange = new Exchange(
    shared as unknown as Exchanges,
    response as unknown as HttpResponse,
    head as unknown as Head,
    [],
  );
  exchange.watch();
  const pieces = (): void => {
    for (let i = 0; i < BODY_PIECES_PER_TURN_MAX; i++) response.take(new ArrayBuffer(1), false);
  };
  return { exchange, response, pieces };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a body that waits for its turn is read again before the response is handed over', async () => {
  const { exchange, response, pieces } = watched();
  pieces();
  expect(response.calls).toEqual(['pause']);
  exchange.handOver();
  expect(response.calls).toEqual(['pause', 'resume']);
  response.isOver = true;
  await turn();
  await turn();
  expect(response.calls).toEqual(['pause', 'resume']);
});

test('a body that goes on behind a response that was handed over is let be', async () => {
  const { exchange, response, pieces } = watched();
  exchange.handOver();
  response.isOver = true;
  pieces();
  exchange.closeSocket();
  exchange.refuse(new Error('too late'));
  await turn();
  expect([response.calls, exchange.isOpen, exchange.address]).toEqual([[], false, '']);
});
