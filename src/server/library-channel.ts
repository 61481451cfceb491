/** A channel as the embedding program has it: to publish, to delete and to read. */
import type { NewEvent } from '../core/event.js';
import type { Hub } from '../core/hub.js';
import type { compileSerializers } from '../core/serialize.js';
import { LIVE } from '../core/position.js';
import type { Polled } from '../core/waiting-polls.js';
import { withOwnErrors } from '../errors.js';
import { checkPublishing, type Exchanges } from '../http/exchange.js';
import { checkChannelName } from '../http/request.js';
import { checkSize } from '../transports/event-size.js';
import type { LibraryLines } from '../transports/library.js';
import type { Gap, ReceivedEvent } from '../transports/received.js';
import type { History, ServerChannel } from './api.js';
import {
  badArgument,
  checkEvent,
  checkSecondArgument,
  dataBytes,
  historyRequestOf,
  subscribeRequestOf,
  type HistoryRequest,
} from './arguments.js';
import { subscription } from './subscription.js';

/** What a channel needs of its server. */
export interface LibraryParts {
  readonly hub: Pick<
    Hub<never>,
    'channels' | 'deleteChannel' | 'polls' | 'publish' | 'ready' | 'startOf'
  >;
  readonly lines: Pick<LibraryLines, 'open'>;
  readonly exchanges: Pick<Exchanges, 'ended'>;
  readonly serialize: ReturnType<typeof compileSerializers>;
  readonly maxEventBytes: number;
  /** Opens the log of a server that does not listen yet; undefined when it is open. */
  readonly opened: () => Promise<void> | undefined;
}

/** Makes a channel, whose functions a program may detach. Throws HOLDLINE_BAD_CHANNEL. */
export function libraryChannel(name: string, parts: LibraryParts): ServerChannel {
  const { hub, exchanges, lines, opened } = parts;
  checkChannelName(name);
  /** Waits only where it must: what is asked for in one turn happens in its order. */
  const whenOpen = <Result>(task: () => Promise<Result>): Promise<Result> => {
    const opening = opened();
    return opening === undefined ? task() : opening.then(task);
  };
  const enter = async (events: unknown): Promise<readonly number[]> => {
    checkPublishing(exchanges);
    if (!Array.isArray(events)) throw badArgument('publishAll', 'an array of events', events);
    // Array.from, because map would leave holes as they are.
    const entries = Array.from(events, (event) => toEvent(name, event, parts));
    if (entries.length === 0) return [];
    return (await whenOpen(() => hub.publish(name, entries))).ids;
  };
  return {
    name,
    get subscribers() {
      return hub.channels.get(name)?.lineCount ?? 0;
    },
    publish: (event, ...more: unknown[]) =>
      withOwnErrors(async () => {
        checkSecondArgument('publish', 'one object {event?, data}', more[0]);
        return (await enter([event]))[0] as number;
      }),
    publishAll: (events, ...more: unknown[]) =>
      withOwnErrors(() => {
        checkSecondArgument('publishAll', 'an array of events', more[0]);
        return enter(events);
      }),
    delete: () =>
      withOwnErrors(async () => {
        checkPublishing(exchanges);
        return (await whenOpen(() => hub.deleteChannel(name))).ids[0] as number;
      }),
    history: (...given: unknown[]) =>
      withOwnErrors(async () => {
        const wanted = historyRequestOf(given);
        checkPublishing(exchanges);
        return whenOpen(() => historyOf(name, wanted, hub));
      }),
    subscribe: (...given: unknown[]) =>
      withOwnErrors(() => {
        const { position, signal } = subscribeRequestOf(given);
        return subscription(lines.open(name, position), signal);
      }),
  };
}

/** Read like a poll's answer, whose first event carries the gap. */
async function historyOf(
  name: string,
  { position, limit }: HistoryRequest,
  hub: LibraryParts['hub'],
): Promise<History> {
  const ready = hub.ready([name], position);
  const from = ready === undefined ? position : await ready;
  let history: History | undefined;
  const looking = hub.polls.look([name], from, limit, (polled) => {
    history = readPoll(name, polled, hub);
  });
  if (looking !== undefined) await looking;
  return history as History;
}

function readPoll(
  name: string,
  { answer, start, position: after }: Polled,
  hub: LibraryParts['hub'],
): History {
  if (answer !== undefined) {
    const body = Buffer.from(answer.body).toString();
    const [first, ...rest] = JSON.parse(body) as [
      ReceivedEvent & { gap?: Gap },
      ...ReceivedEvent[],
    ];
    const { gap, ...event } = first;
    const found = { events: [event, ...rest], position: after };
    return gap === undefined ? found : { ...found, gap };
  }
  if (start.gap === undefined) return { events: [], position: after };
  // Nothing of it is held: told now, the gap is over, and whoever goes on is not told it again.
  const { cursor } = hub.startOf([name], LIVE);
  const gap = { after: start.gap.after, before: null };
  return { events: [], gap, position: Math.max(start.cursor, cursor) };
}

function toEvent(
  channel: string,
  given: unknown,
  { serialize, maxEventBytes }: LibraryParts,
): NewEvent {
  const { event: type, data } = checkEvent(given);
  const isText = typeof data === 'string' || data instanceof Uint8Array;
  const bytes = dataBytes(type, data, serialize);
  const event: NewEvent = { channel, type, data: bytes, json: !isText };
  checkSize(event, maxEventBytes);
  return event;
}
