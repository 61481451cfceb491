/** `/-/channels` and `/-/channels/NAME`: which channels there are, who is there, how busy it is. */
import {
  CHANNEL_ORDERS,
  type ChannelDetails,
  type ChannelOrder,
  type ChannelPage,
  type ChannelUsers,
  type ListPlace,
} from '../core/channel-listing.js';
import { HoldlineError } from '../errors.js';
import { badParameter, type Query } from '../http/query.js';
import { channelOf, limitOf } from '../http/request.js';
import { LISTED_CHANNELS_DEFAULT } from '../limits.js';
import { jsonAnswer, type OpsPage, type OpsRequest } from './page.js';

/** What these pages ask of the hub. */
export interface ChannelSource {
  listChannels(order: ChannelOrder, limit: number, after: ListPlace | undefined): ChannelPage;
  channelDetails(name: string): ChannelDetails | undefined;
  channelUsers(name: string): ChannelUsers | undefined;
}

/** The pages by name; one that ends in a slash answers for every path below it. */
export function makeChannelPages(hub: ChannelSource): Readonly<Record<string, OpsPage>> {
  return {
    channels: {
      access: 'key',
      check: ({ query }) => void listingOf(query),
      answer({ query }) {
        const { sort, limit, after } = listingOf(query);
        const { channels, next } = hub.listChannels(sort, limit, after);
        return jsonAnswer({ sort, channels, next: nextOf(next) });
      },
    },
    'channels/': {
      access: 'key',
      check: (request) => void channelAskedFor(request),
      answer(request) {
        const { name, withUsers } = channelAskedFor(request);
        const figures = hub.channelDetails(name);
        if (figures === undefined) {
          throw new HoldlineError(
            'HOLDLINE_NOT_FOUND',
            `the channel ${name} is not known: it has neither lines nor events`,
          );
        }
        return jsonAnswer({ ...figures, ...(withUsers ? hub.channelUsers(name) : {}) });
      },
    },
  };
}

/** Where the next page begins, as `after` is to be given; null behind the last. */
export function nextOf(last: ListPlace | undefined): string | null {
  return last === undefined ? null : `${last.value}:${last.name}`;
}

/** Which channels `/-/channels` is to show. Throws HOLDLINE_BAD_QUERY. */
export function listingOf(query: Query): {
  readonly sort: ChannelOrder;
  readonly limit: number;
  readonly after: ListPlace | undefined;
} {
  query.checkNamesAmong(['sort', 'limit', 'after']);
  const sort = orderOf(query);
  const limit = limitOf(query) || LISTED_CHANNELS_DEFAULT;
  return { sort, limit, after: placeOf(query) };
}

/** What `/-/channels/NAME` is to show. Throws HOLDLINE_BAD_QUERY, and as {@link channelOf} does. */
function channelAskedFor({ query, rest }: OpsRequest): {
  readonly name: string;
  readonly withUsers: boolean;
} {
  query.checkNamesAmong(['users']);
  return { withUsers: query.isSet('users'), name: channelOf(`/${rest}`) };
}

/** The order that `sort` asks for. Throws HOLDLINE_BAD_QUERY. */
function orderOf(query: Query): ChannelOrder {
  const text = query.get('sort') ?? 'lines';
  const order = CHANNEL_ORDERS.find((one) => one === text);
  if (order === undefined) throw badParameter('sort', CHANNEL_ORDERS.join(' or '), text);
  return order;
}

/** A number, a colon, and the name of a channel. */
const PLACE = /^(\d{1,15}):(.+)$/;

/** Where the page begins: `next` of the page before it. Throws HOLDLINE_BAD_QUERY. */
function placeOf(query: Query): ListPlace | undefined {
  const text = query.get('after');
  if (text === undefined) return undefined;
  const [, value, name] = PLACE.exec(text) ?? [];
  if (value === undefined || name === undefined)
    throw badParameter('after', '"next" of the page before, such as 12:notifications', text);
  return { value: Number(value), name };
}
