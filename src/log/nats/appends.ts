/** Appends to the stream: which messages they are, and how a request is kept once. */
import type { JetStreamManager, StoredMsg } from '@nats-io/jetstream';
import type { NewEntry } from '../../core/event.js';
import type { RequestKey } from '../../core/event-log.js';
import { asError, HoldlineError } from '../../errors.js';
import { NATS_LOOKUPS_MAX } from '../../limits.js';
import type { Ack } from './batch.js';
import type { Publisher } from './publisher.js';
import { ID_HEADER, markOf, messageOf, type OutgoingMessage } from './record.js';
import type { Subjects } from './subjects.js';

interface Appended {
  readonly ids: readonly number[];
  readonly isRepeat: boolean;
  readonly mayBeOld?: boolean;
}

export class Appends {
  readonly #publisher: Publisher;
  readonly #manager: JetStreamManager;
  readonly #stream: string;
  readonly #subjects: Subjects;
  /** Before the number of each message of this process without an idempotency key. */
  readonly #prefix = crypto.randomUUID();
  #messages = 0;

  constructor(publisher: Publisher, manager: JetStreamManager, stream: string, subjects: Subjects) {
    this.#publisher = publisher;
    this.#manager = manager;
    this.#stream = stream;
    this.#subjects = subjects;
  }

  /**
   * Resolves to the ids when the stream has all entries, and whether it had all of them before.
   * `mayBeOld`: of those that were sent again with a key nobody knows that; another server may have
   * published them long ago. Rejects as the log does.
   */
  async append(
    entries: readonly NewEntry[],
    request?: RequestKey & { readonly subscribers: number },
  ): Promise<Appended> {
    const acks =
      request === undefined
        ? await this.#publish(
            entries.map((entry) => this.#message(entry)),
            laneOf(entries),
          )
        : await this.#appendOnce(entries, request);
    const isRepeat = acks.every((ack) => ack.isRepeat && !ack.isResent);
    const mayBeOld = !isRepeat && request !== undefined && acks.every((ack) => ack.isRepeat);
    return { ids: acks.map(({ id }) => id), isRepeat, ...(mayBeOld && { mayBeOld }) };
  }

  #message(entry: NewEntry): OutgoingMessage {
    return messageOf(entry, `${this.#prefix}.${++this.#messages}`, this.#subjects);
  }

  /**
   * The first entry goes alone: whoever has its message id in the stream has the key, for whatever
   * it asked; so two requests with one key are never mixed.
   */
  async #appendOnce(
    entries: readonly NewEntry[],
    request: RequestKey & { readonly subscribers: number },
  ): Promise<readonly Ack[]> {
    const { key, digest, subscribers } = request;
    const message = (entry: NewEntry, index: number, firstId: number): OutgoingMessage =>
      messageOf(entry, `${key}.${index}`, this.#subjects, {
        key,
        digest,
        index,
        count: entries.length,
        firstId,
        subscribers,
      });
    const lane = laneOf(entries);
    // Looked up below, for what it asked.
    const [first] = await this.#publisher.publish([message(entries[0] as NewEntry, 0, 0)], lane);
    const { id: firstId, isRepeat } = first as Ack;
    if (isRepeat) await this.#checkRepeat(firstId, request);
    if (entries.length === 1) return [first as Ack];
    const rest = await this.#publish(
      entries.slice(1).map((entry, index) => message(entry, index + 1, firstId)),
      lane,
      1,
    );
    return [first as Ack, ...rest];
  }

  /** As {@link Publisher.publish}; what NATS says it had before is looked up. */
  async #publish(
    messages: readonly OutgoingMessage[],
    lane: string,
    before = 0,
  ): Promise<readonly Ack[]> {
    const acks = await this.#publisher.publish(messages, lane, before);
    const repeats = acks.flatMap(({ id, isRepeat }, index) =>
      isRepeat ? [{ id, messageId: messages[index]!.headers.get(ID_HEADER) }] : [],
    );
    for (let from = 0; from < repeats.length; from += NATS_LOOKUPS_MAX)
      await Promise.all(
        repeats
          .slice(from, from + NATS_LOOKUPS_MAX)
          .map(({ id, messageId }) => this.#stored(id, messageId)),
      );
    return acks;
  }

  /** NATS has had this key: for this request, or for another one. */
  async #checkRepeat(firstId: number, { key, digest }: RequestKey): Promise<void> {
    const stored = await this.#stored(firstId, `${key}.0`);
    const mark = markOf(stored?.header);
    if (stored === undefined || mark?.digest === digest) return;
    throw new HoldlineError(
      'HOLDLINE_IDEMPOTENCY_MISMATCH',
      'this Idempotency-Key was used for another body, type or Content-Type; use a new key for a new event',
    );
  }

  /**
   * The message that NATS says it has; undefined where the stream has forgotten it. A server that
   * was cut off may name one that its cluster never had, or has given to another: that is no
   * repeat, and nobody knows what became of it.
   */
  async #stored(id: number, messageId: string): Promise<StoredMsg | undefined> {
    try {
      const stored = await this.#manager.streams.getMessage(this.#stream, { seq: id });
      if (stored?.header.get(ID_HEADER) === messageId) return stored;
      const { state } = await this.#manager.streams.info(this.#stream);
      if (stored === null && id < state.first_seq) return undefined;
    } catch (error) {
      throw unknown(id, `cannot be asked for it (${asError(error).message})`);
    }
    throw unknown(id, 'has something else there');
  }
}

function unknown(id: number, why: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_OUTCOME_UNKNOWN',
    `NATS says that it has this request as ${id}, and ${why}`,
  );
}

/** The lane of a request: its channel; requests over several channels share one. */
function laneOf(entries: readonly NewEntry[]): string {
  const { channel } = entries[0] as NewEntry;
  return entries.every((entry) => entry.channel === channel) ? channel : '';
}
