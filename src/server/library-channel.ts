/** A channel as the embedding program has it: publishes what it is given, and deletes. */
import { checkEventType, type NewEvent } from '../core/event.js';
import type { Hub } from '../core/hub.js';
import type { compileSerializers } from '../core/serialize.js';
import { withStack } from '../errors.js';
import { checkServing, type Exchanges } from '../http/exchange.js';
import { checkChannelName } from '../http/request.js';
import { checkSize } from '../transports/event-size.js';
import { checkUtf8 } from '../transports/publish.js';
import type { LibraryEvent, ServerChannel } from './api.js';

/** What a channel needs of its server. */
export interface LibraryParts {
  readonly hub: Pick<Hub<never>, 'deleteChannel' | 'publish'>;
  readonly exchanges: Pick<Exchanges, 'draining'>;
  readonly serialize: ReturnType<typeof compileSerializers>;
  readonly maxEventBytes: number;
}

/** Makes a channel, whose functions a program may detach. Throws HOLDLINE_BAD_CHANNEL. */
export function libraryChannel(name: string, parts: LibraryParts): ServerChannel {
  const { hub, exchanges } = parts;
  const publishAll: ServerChannel['publishAll'] = async (events) => {
    try {
      checkServing(exchanges);
      if (events.length === 0) return [];
      const entries = events.map((event) => toEvent(name, event, parts));
      return (await hub.publish(name, entries)).ids;
    } catch (error) {
      throw withStack(error);
    }
  };
  return {
    name: checkChannelName(name),
    publish: async (event) => (await publishAll([event]))[0] as number,
    publishAll,
    async delete() {
      try {
        checkServing(exchanges);
        return (await hub.deleteChannel(name)).ids[0] as number;
      } catch (error) {
        throw withStack(error);
      }
    },
  };
}

function toEvent(
  channel: string,
  { event: type, data }: LibraryEvent,
  { serialize, maxEventBytes }: LibraryParts,
): NewEvent {
  if (type !== undefined) checkEventType(type);
  const isBytes = data instanceof Uint8Array;
  if (isBytes) checkUtf8(data, 'data');
  const isText = isBytes || typeof data === 'string';
  const bytes = isBytes
    ? Uint8Array.from(data)
    : Buffer.from(typeof data === 'string' ? data : serialize(type, data));
  const event: NewEvent = { channel, type, data: bytes, json: !isText };
  checkSize(event, maxEventBytes);
  return event;
}
