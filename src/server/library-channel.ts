/** A channel as the embedding program has it: publishes what it is given, and deletes. */
import type { NewEvent } from '../core/event.js';
import type { Hub } from '../core/hub.js';
import type { compileSerializers } from '../core/serialize.js';
import { withStack } from '../errors.js';
import { checkPublishing, type Exchanges } from '../http/exchange.js';
import { checkChannelName } from '../http/request.js';
import { checkSize } from '../transports/event-size.js';
import type { ServerChannel } from './api.js';
import { badArgument, checkEvent, checkSecondArgument, dataBytes } from './arguments.js';

/** What a channel needs of its server. */
export interface LibraryParts {
  readonly hub: Pick<Hub<never>, 'deleteChannel' | 'publish'>;
  readonly exchanges: Pick<Exchanges, 'ended'>;
  readonly serialize: ReturnType<typeof compileSerializers>;
  readonly maxEventBytes: number;
}

/** Makes a channel, whose functions a program may detach. Throws HOLDLINE_BAD_CHANNEL. */
export function libraryChannel(name: string, parts: LibraryParts): ServerChannel {
  const { hub, exchanges } = parts;
  checkChannelName(name);
  const enter = async (events: unknown): Promise<readonly number[]> => {
    try {
      checkPublishing(exchanges);
      if (!Array.isArray(events)) throw badArgument('publishAll', 'an array of events', events);
      // Array.from, because map would leave holes as they are.
      const entries = Array.from(events, (event) => toEvent(name, event, parts));
      return entries.length === 0 ? [] : (await hub.publish(name, entries)).ids;
    } catch (error) {
      throw withStack(error);
    }
  };
  return {
    name,
    async publish(event, ...more: unknown[]) {
      checkSecondArgument('publish', 'one object {event?, data}', more[0]);
      return (await enter([event]))[0] as number;
    },
    async publishAll(events, ...more: unknown[]) {
      checkSecondArgument('publishAll', 'an array of events', more[0]);
      return enter(events);
    },
    async delete() {
      try {
        checkPublishing(exchanges);
        return (await hub.deleteChannel(name)).ids[0] as number;
      } catch (error) {
        throw withStack(error);
      }
    },
  };
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
