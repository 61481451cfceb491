/**
 * Publishers as an actor: each sends its next body when the last was answered, whatever the answer.
 */
import { RawConnection, requestBytes, ResponseReader } from '../../support/wire.js';
import { percentile, type Actor } from './actor.js';

export interface PublishersParameters {
  readonly count: number;
  /** `{n}` is the number of the publisher, `{i}` that of its publish. */
  readonly channel: string;
  readonly contentType?: string;
  /** The body is this line, as often as it says. */
  readonly line: string;
  readonly lines?: number;
  /** Publishes of each; 0: without end. */
  readonly times?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Resolve only when all `times` are answered. */
  readonly awaitsEnd?: boolean;
  /** Requests that are sent at once on a connection; the answers are counted. */
  readonly pipelined?: number;
}

const GIVE_UP_MS = 30_000;

export const publishers: Actor<PublishersParameters> = async (port, parameters) => {
  const {
    count,
    channel,
    line,
    lines = 1,
    times = 0,
    awaitsEnd = false,
    pipelined = 1,
  } = parameters;
  const body = Buffer.from(Array.from({ length: lines }, () => line).join('\n'));
  const headers = { 'Content-Type': parameters.contentType ?? 'text/plain', ...parameters.headers };
  const open = new Set<RawConnection>();
  let stopped = false;
  let accepted = 0;
  let refused = 0;
  let other = 0;
  let unanswered = 0;
  let answerMs: number[] = [];

  const requestOf = (publisher: number, index: number): Buffer => {
    const path = `/${channel.replaceAll('{n}', String(publisher)).replaceAll('{i}', String(index))}`;
    return requestBytes(port, 'POST', path, { headers, body });
  };

  /** Sends the next ones and counts the answers; false when the connection is no more. */
  async function exchange(
    connection: RawConnection,
    publisher: number,
    from: number,
    many: number,
  ): Promise<boolean> {
    const sentMs = performance.now();
    let left = many;
    let reader = new ResponseReader(() => {});
    connection.consume = (bytes) => {
      // Answers to a publish are short and each has its length: one that is cut waits in its
      // reader.
      for (let rest = bytes; rest.length > 0;) {
        const end = endOfAnswer(rest);
        reader.feed(rest.subarray(0, end));
        rest = rest.subarray(end);
        if (!reader.complete) continue;
        const { status } = reader.head!;
        if (status === 200) accepted++;
        else if (status === 503) refused++;
        else other++;
        reader = new ResponseReader(() => {});
        left--;
      }
    };
    const requests = Array.from({ length: many }, (_, i) => requestOf(publisher, from + i));
    connection.send(requests.length === 1 ? requests[0]! : Buffer.concat(requests));
    try {
      await connection.waitFor('the answers', () => left === 0 || connection.closed, GIVE_UP_MS);
    } catch {
      connection.destroy();
    }
    unanswered += stopped ? 0 : left;
    answerMs.push(performance.now() - sentMs);
    return left === 0 && !connection.closed && !connection.ended;
  }

  async function publishAll(publisher: number): Promise<void> {
    for (let index = 0; !stopped && (times === 0 || index < times);) {
      const connection = await RawConnection.open(port);
      open.add(connection);
      for (let isOpen = true; isOpen && !stopped && (times === 0 || index < times);) {
        const many = times === 0 ? pipelined : Math.min(pipelined, times - index);
        isOpen = await exchange(connection, publisher, index, many);
        index += many;
      }
      open.delete(connection);
      connection.destroy();
    }
  }

  const running = Promise.all(
    Array.from({ length: count }, (_, publisher) => publishAll(publisher)),
  );
  running.catch(() => unanswered++);
  if (awaitsEnd) await running;

  const look = () => {
    const figures = {
      accepted,
      refused,
      other,
      unanswered,
      acceptedBytes: accepted * body.length,
      answerP50Ms: percentile(answerMs, 0.5),
      answerMaxMs: percentile(answerMs, 1),
    };
    accepted = refused = other = unanswered = 0;
    answerMs = [];
    return figures;
  };
  return {
    look,
    stop() {
      const figures = look();
      stopped = true;
      for (const connection of open) connection.socket.resetAndDestroy();
      return figures;
    },
  };
};

/** Where the first answer in these bytes ends; all of them where that cannot be seen. */
function endOfAnswer(bytes: Buffer): number {
  const next = bytes.indexOf('HTTP/1.1 ', 1);
  return next < 0 ? bytes.length : next;
}
