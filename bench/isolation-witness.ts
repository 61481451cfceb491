/**
 * Beside a server on NATS: a client of the same nats-server without Holdline, which publishes to
 * the same stream. How long it waits for its answers is NATS' own part of what a channel waits.
 */
import { connect, createInbox } from '@nats-io/transport-node';
import { Subjects } from '../src/log/nats/subjects.js';
import { answerRunner } from './child.js';
import { latencyOf, type Latency } from './latency.js';

export interface WitnessOrder {
  /** `127.0.0.1:4222`. */
  address: string;
  ratePerSecond: number;
}

/** Of the server's default options. */
const PREFIX = 'holdline';
const CHANNEL = 'witness';
const DATA = Buffer.alloc(150, 'x');

const answersUs: number[] = [];

async function begin({ address, ratePerSecond }: WitnessOrder): Promise<void> {
  const nats = await connect({ servers: address });
  const inbox = createInbox();
  const subject = new Subjects(PREFIX).ofEvents(CHANNEL);
  const sentMs = new Map<string, number>();
  nats.subscribe(`${inbox}.*`, {
    callback: (_error, message) => {
      const from = sentMs.get(message.subject);
      sentMs.delete(message.subject);
      if (from !== undefined) answersUs.push((performance.now() - from) * 1000);
    },
  });
  let sent = 0;
  setInterval(() => {
    const reply = `${inbox}.${++sent}`;
    sentMs.set(reply, performance.now());
    nats.publish(subject, DATA, { reply });
  }, 1000 / ratePerSecond);
}

answerRunner({
  begin,
  /** Of the answers since it was asked last. */
  latency: (): Latency => latencyOf(answersUs.splice(0)),
});
