/** What the operations of the OpenAPI description share: parameters, schemas, refusals. */
import { REFUSALS, type RefusalCode } from '../errors.js';
import {
  BATCH_CHANNELS_MAX,
  BATCH_EVENTS_MAX,
  BODY_BYTES_MAX,
  CHANNEL_NAME_CHARS_MAX,
  CHANNELS_PER_LINE_MAX,
  EVENT_TYPE_CHARS_MAX,
  ID_MAX,
  IDEMPOTENCY_KEY_CHARS_MAX,
  POLL_EVENTS_MAX,
  POLL_WAIT_DEFAULT_SECONDS,
  POLL_WAIT_SECONDS_MAX,
  TICKET_CHANNELS_MAX,
  TICKET_DEFAULT_SECONDS,
  TICKET_LIFETIME_MS_MAX,
} from '../limits.js';

/** A part of the description, as JSON has it. */
export type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json };

const id = {
  type: 'integer',
  minimum: 0,
  maximum: ID_MAX,
  description: 'rises over all channels; within one it may skip',
} as const;
export const count = { type: 'integer', minimum: 0 } as const;

export function object(
  properties: Readonly<Record<string, Json>>,
  optional: readonly string[] = [],
): Readonly<Record<string, Json>> {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', required, properties };
}

const event = {
  type: 'string',
  minLength: 1,
  maxLength: EVENT_TYPE_CHARS_MAX,
  description: 'type of the event; gap, end, open and error are reserved',
} as const;

/** The name of one channel, or of several. */
const CHANNEL_CHARS = '[A-Za-z0-9_~:@-]+(?:[./][A-Za-z0-9_~:@-]+)*';

const channel = {
  type: 'string',
  minLength: 1,
  maxLength: CHANNEL_NAME_CHARS_MAX,
  pattern: `^${CHANNEL_CHARS}$`,
  description:
    'one segment or several, such as org/7/alerts; no segment is empty or has a leading, trailing or double dot, and no name begins with -/',
} as const;

const subscribers = {
  ...count,
  description:
    'lines on the channel when it was accepted; of a batch over several channels the sum over them',
} as const;

export const SCHEMAS = {
  Event: object(
    {
      id,
      channel,
      event,
      data: { description: 'a string for text, and what was published for JSON' },
      gap: { $ref: '#/components/schemas/Gap' },
    },
    ['event', 'gap'],
  ),
  Gap: object({
    after: { type: ['integer', 'null'], description: 'events after this id were lost' },
    before: {
      type: ['integer', 'null'],
      description: 'the first id that follows, if there is one',
    },
  }),
  Line: object({ channel, event, data: {} }, ['event']),
  Receipt: object({ id, subscribers }),
  BatchReceipt: object({ first: id, last: id, count, subscribers }),
  TicketRequest: object(
    {
      channels: {
        type: 'array',
        items: { type: 'string' },
        minItems: 1,
        maxItems: TICKET_CHANNELS_MAX,
        description: 'names; of an operator patterns, too',
      },
      seconds: {
        type: 'integer',
        minimum: 1,
        maximum: TICKET_LIFETIME_MS_MAX / 1000,
        default: TICKET_DEFAULT_SECONDS,
      },
      user: { type: 'string', description: 'whose it is; another one for operators only' },
    },
    ['seconds', 'user'],
  ),
  Ticket: object({
    ticket: { type: 'string' },
    expiresAt: { ...count, description: 'milliseconds since the epoch' },
  }),
  Workers: {
    ...object({
      wanted: count,
      serving: { ...count, description: 'that serve now' },
      restarts: { ...count, description: 'that were started in the place of one that died' },
      silent: {
        type: 'array',
        items: count,
        description: 'places, from 1 on, of those whose figures are missing here',
      },
      pids: { type: 'array', items: { type: ['integer', 'null'] } },
      supervisorPid: count,
    }),
    description: 'of a server of several processes (--workers): what was summed here',
  },
  Refusal: object({
    error: object({
      code: { type: 'string', enum: Object.keys(REFUSALS) },
      message: { type: 'string', description: 'what was given, and what would work' },
    }),
  }),
} satisfies Readonly<Record<string, Json>>;

export function schema(name: keyof typeof SCHEMAS): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${name}` };
}

/** A body or an answer in JSON. */
export function inJson(of: Json): Readonly<Record<string, Json>> {
  return { 'application/json': { schema: of } };
}

/** A request shows a key or a token. */
export const BEARER: Json = [{ bearer: [] }];

/** A parameter in a query. */
export function inQuery(name: string, description: string, of: Json): Json {
  return { name, in: 'query', description, schema: of };
}

const position = 'the id to continue after, or 0 for everything held';

/** Parameters in the query of a request to a channel, by name. */
export const QUERY_PARAMETERS = {
  since: inQuery(
    'since',
    `${position}; latest for new events only; or, where the log keeps events, a time: 10m (ms, s, m or min, h or d before now) or 2026-11-26T20:15:00Z`,
    { type: 'string' },
  ),
  last_event_id: inQuery('last_event_id', `${position}; stronger than since`, { type: 'string' }),
  last: inQuery('last', 'start with so many of the newest events', count),
  wait: inQuery('wait', 'seconds that a poll may wait; 0 answers at once', {
    type: 'number',
    minimum: 0,
    maximum: POLL_WAIT_SECONDS_MAX,
    default: POLL_WAIT_DEFAULT_SECONDS,
  }),
  limit: inQuery('limit', 'a poll answers with an array of up to so many events', {
    type: 'integer',
    minimum: 1,
    maximum: POLL_EVENTS_MAX,
  }),
  envelope: inQuery('envelope', '1: data of an event stream is the event as an object', {
    type: 'string',
    enum: ['0', '1'],
  }),
  client: inQuery('client', 'which form of an event stream the client reads', { type: 'string' }),
  ticket: inQuery('ticket', 'a ticket, in place of Authorization', { type: 'string' }),
  event: inQuery('event', 'the type of a single event', event),
} as const satisfies Readonly<Record<string, Json>>;

export const LAST_EVENT_ID_HEADER: Json = {
  name: 'Last-Event-ID',
  in: 'header',
  description: 'the id to continue after; beats everything in the query',
  schema: { type: 'string' },
};

export const IDEMPOTENCY_KEY_HEADER: Json = {
  name: 'Idempotency-Key',
  in: 'header',
  description: 'the same key and request within two minutes are published once',
  schema: { type: 'string', minLength: 1, maxLength: IDEMPOTENCY_KEY_CHARS_MAX },
};

export const CHANNEL_IN_PATH: Json = {
  name: 'channel',
  in: 'path',
  required: true,
  description: `The name of a channel, whose slashes stand in the path as they are. A GET may name up to ${CHANNELS_PER_LINE_MAX}, separated by commas.`,
  schema: { type: 'string', pattern: `^${CHANNEL_CHARS}(?:,${CHANNEL_CHARS})*$` },
};

export const ONE_CHANNEL_IN_PATH: Json = {
  name: 'channel',
  in: 'path',
  required: true,
  description: 'The name of a channel, whose slashes stand in the path as they are',
  schema: channel,
};

/** The bodies of a batch. */
export const BATCH_WORDS = `A line of JSON for each event, all or nothing; at most ${BATCH_EVENTS_MAX} events in ${BODY_BYTES_MAX} bytes`;
export const NAMED_BATCH_WORDS = `${BATCH_WORDS}, for at most ${BATCH_CHANNELS_MAX} channels.`;

/** Refusals by their status, each with the codes that it may have. */
export function refusals(
  ...lists: readonly (readonly RefusalCode[])[]
): Readonly<Record<string, Json>> {
  const byStatus = new Map<number, RefusalCode[]>();
  for (const code of lists.flat()) {
    const { status } = REFUSALS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      String(status),
      {
        description: codes.join(', '),
        ...(codes.some((code) => REFUSALS[code].temporary) ? { headers: RETRY_AFTER } : {}),
        content: inJson(schema('Refusal')),
      },
    ]),
  );
}

const RETRY_AFTER = {
  'Retry-After': { description: 'seconds until another attempt', schema: count },
} as const;

/** What every request may be refused with. */
export const ANY_REQUEST = [
  'HOLDLINE_BAD_FRAMING',
  'HOLDLINE_BAD_HEADER',
  'HOLDLINE_INTERNAL',
] as const satisfies readonly RefusalCode[];

/** What a request may be refused with that needs rights. */
export const RIGHTS = [
  'HOLDLINE_UNAUTHORIZED',
  'HOLDLINE_FORBIDDEN',
  'HOLDLINE_REVOKED',
  'HOLDLINE_BAD_HOST',
  'HOLDLINE_CROSS_SITE',
  'HOLDLINE_TOO_MANY_KEYS',
  'HOLDLINE_TOKEN_KEYS_UNAVAILABLE',
] as const satisfies readonly RefusalCode[];

/** What a publish may be refused with, to one channel or to several. */
export const PUBLISHING = [
  'HOLDLINE_BAD_CHANNEL',
  'HOLDLINE_BAD_QUERY',
  'HOLDLINE_BAD_EVENT_TYPE',
  'HOLDLINE_BAD_BATCH',
  'HOLDLINE_BAD_IDEMPOTENCY_KEY',
  'HOLDLINE_NOT_UTF8',
  'HOLDLINE_BODY_TIMEOUT',
  'HOLDLINE_TOO_LARGE',
  'HOLDLINE_UNSUPPORTED_ENCODING',
  'HOLDLINE_UNSUPPORTED_MEDIA_TYPE',
  'HOLDLINE_IDEMPOTENCY_MISMATCH',
  'HOLDLINE_RATE',
  'HOLDLINE_PUBLISH_BUSY',
  'HOLDLINE_DRAINING',
  'HOLDLINE_CHANNELS_FULL',
  'HOLDLINE_LOG_UNAVAILABLE',
  'HOLDLINE_OUTCOME_UNKNOWN',
] as const satisfies readonly RefusalCode[];
