/** What the pages under `/-/` answer in JSON, as schemas of the OpenAPI description. */
import { LINE_ORDERS } from '../core/line-ranking.js';
import { CHANNEL_ORDERS } from '../core/channel-listing.js';
import { count, object, schema, type Json } from './openapi-parts.js';

const text = { type: 'string' } as const;
const textOrNull = { type: ['string', 'null'] } as const;
const number = { type: 'number', minimum: 0 } as const;
const numberOrNull = { type: ['number', 'null'] } as const;
const flag = { type: 'boolean' } as const;
/** Of figures whose names say what they are. */
const figures = { type: 'object' } as const;

function listOf(items: Json): Json {
  return { type: 'array', items };
}

/** A page that is summed over all workers where there are several. */
function overAll(properties: Readonly<Record<string, Json>>, optional: readonly string[] = []) {
  return object({ ...properties, workers: schema('Workers') }, [...optional, 'workers']);
}

/** Of the compressed lines of a channel; null where there were none. */
const compression = object({
  lines: count,
  plainBytes: count,
  bytes: count,
  ratio: numberOrNull,
});

const listedChannel = {
  name: text,
  lines: count,
  newestId: count,
  heldEvents: count,
  heldBytes: count,
  eventsPerSecond: number,
  bytesPerSecond: number,
  compression: { ...compression, type: ['object', 'null'] },
} as const;

const line = object({
  id: count,
  user: textOrNull,
  address: textOrNull,
  channels: listOf(text),
  transport: text,
  state: { ...text, enum: ['catching-up', 'healthy', 'stalled', 'drained', 'reading'] },
  cursor: count,
  lagEvents: count,
  lagBytes: count,
  lapped: flag,
  unsentBytes: count,
  stalledMs: numberOrNull,
  ageMs: number,
});

/** By the name of the operation. */
export const PAGE_ANSWERS = {
  health: object({ status: { ...text, enum: ['ok'] } }),
  ready: object(
    {
      status: { ...text, enum: ['ready', 'degraded', 'draining'] },
      log: { ...text, enum: ['up', 'down'] },
      problem: text,
    },
    ['problem'],
  ),
  stats: overAll({
    version: text,
    build: textOrNull,
    uptimeMs: number,
    draining: flag,
    head: count,
    floor: count,
    lines: figures,
    sockets: figures,
    watchers: count,
    log: figures,
    channels: figures,
    queue: figures,
    memory: figures,
    loopDelay: figures,
    counters: figures,
  }),
  memory: overAll(
    {
      rssBytes: count,
      rssBytesPerLine: numberOrNull,
      lines: count,
      classes: figures,
      kernel: { type: ['object', 'null'] },
      budget: { type: ['object', 'null'] },
      supervisorRssBytes: { ...count, description: 'of the process that supervises the workers' },
    },
    ['supervisorRssBytes'],
  ),
  connections: overAll({
    sort: { ...text, enum: LINE_ORDERS },
    connections: listOf(line),
  }),
  channels: overAll({
    sort: { ...text, enum: CHANNEL_ORDERS },
    channels: listOf(object(listedChannel)),
    next: textOrNull,
  }),
  channel: overAll(
    {
      ...listedChannel,
      linesByTransport: figures,
      queuedEvents: count,
      isDeleted: flag,
      users: listOf(object({ user: text, lines: count })),
      usersTotal: count,
      linesWithoutUser: count,
    },
    ['users', 'usersTotal', 'linesWithoutUser'],
  ),
} as const satisfies Readonly<Record<string, Json>>;
