/** The part of the OpenAPI description that is for operators, and how a page is described. */
import { CHANNEL_ORDERS } from '../core/channel-listing.js';
import { LINE_ORDERS } from '../core/line-ranking.js';
import type { RefusalCode } from '../errors.js';
import { PAGE_ANSWERS } from './openapi-pages.js';
import {
  ANY_REQUEST,
  BEARER,
  inJson,
  inQuery,
  ONE_CHANNEL_IN_PATH,
  QUERY_PARAMETERS,
  refusals,
  RIGHTS,
  type Json,
} from './openapi-parts.js';
import type { OpsPage } from './page.js';

interface PageParts {
  readonly contentType?: string;
  readonly description?: string;
  readonly parameters?: Json;
  /** Answers beside 200 that are no refusals. */
  readonly responses?: Readonly<Record<string, Json>>;
  /** Refusals beside those of every such page. */
  readonly codes?: readonly RefusalCode[];
}

/** What a page may be refused with; one worker of several asks the others for one with a key. */
const REFUSED: Readonly<Record<OpsPage['access'], readonly RefusalCode[]>> = {
  open: ['HOLDLINE_CROSS_SITE'],
  host: ['HOLDLINE_BAD_HOST'],
  key: [...RIGHTS, 'HOLDLINE_LOG_UNAVAILABLE'],
};

/** A page that GET and HEAD show. */
export function page(
  operationId: string,
  summary: string,
  access: OpsPage['access'],
  {
    contentType = 'application/json',
    description,
    parameters,
    responses = {},
    codes = [],
  }: PageParts = {},
): { readonly get: Json } {
  return {
    get: {
      operationId,
      summary,
      ...(description === undefined ? {} : { description }),
      ...(parameters === undefined ? {} : { parameters }),
      security: access === 'key' ? BEARER : [],
      responses: {
        '200': {
          description: summary,
          content: { [contentType]: { schema: answerOf(operationId) } },
        },
        ...responses,
        ...refusals(ANY_REQUEST, REFUSED[access], codes),
      },
    },
  };
}

function answerOf(operationId: string): Json {
  const answers: Readonly<Record<string, Json>> = PAGE_ANSWERS;
  return Object.hasOwn(answers, operationId) ? (answers[operationId] as Json) : {};
}

function sorted(orders: readonly string[]): Json {
  return inQuery('sort', 'their order', { type: 'string', enum: orders, default: orders[0] ?? '' });
}

const endConnections: Json = {
  operationId: 'endConnections',
  summary: 'End lines, or revoke a user',
  description:
    'Exactly one of the parameters. By id or channel the clients may come back. A user is revoked: lines end for good, and tokens and tickets that were issued until now are refused with HOLDLINE_REVOKED, on all servers that share the log, and after a restart where the log keeps.',
  parameters: [
    inQuery('id', 'one line, as /-/connections shows it', { type: 'integer', minimum: 1 }),
    inQuery('channel', 'all lines on a channel', { type: 'string' }),
    inQuery('user', 'all lines of a user', { type: 'string' }),
  ],
  security: BEARER,
  responses: {
    '200': {
      description: 'How many lines, waiting polls and streams that watch are being ended',
      content: inJson({
        type: 'object',
        properties: {
          ended: { type: 'integer' },
          id: { type: 'integer' },
          channel: { type: 'string' },
          user: { type: 'string' },
        },
      }),
    },
    ...refusals(ANY_REQUEST, RIGHTS, [
      'HOLDLINE_BAD_QUERY',
      'HOLDLINE_BAD_CHANNEL',
      'HOLDLINE_REVOCATIONS_FULL',
      'HOLDLINE_LOG_UNAVAILABLE',
    ]),
  },
};

const watchCounts: Json = {
  operationId: 'watch',
  summary: 'How many subscribers each channel has, as it changes',
  description:
    'Objects with channel and subscribers, of the channels that the credential has the right to watch; at most one a second for each channel. After an object with reset, everything told before is void, and a channel that is not told has no subscribers. A count falls when it has been lower for a whole second. The stream tells why it ends in an end event.',
  parameters: [QUERY_PARAMETERS.client],
  security: BEARER,
  responses: {
    '200': {
      description: 'A stream',
      content: {
        'text/event-stream': { schema: { type: 'string' } },
        'application/x-ndjson': {
          schema: { type: 'string' },
          example: '{"reset":true}\n{"channel":"org/7/alerts","subscribers":3}\n',
        },
      },
    },
    ...refusals(ANY_REQUEST, RIGHTS, [
      'HOLDLINE_BAD_QUERY',
      'HOLDLINE_NOT_FOUND',
      'HOLDLINE_DRAINING',
      'HOLDLINE_WATCHERS_FULL',
    ]),
  },
};

/** Paths under `/-/`, but those that change what is published. */
export const OPERATOR_PATHS: Readonly<Record<string, Json>> = {
  '/-/health': page('health', 'The process lives', 'open'),
  '/-/ready': page('ready', 'New lines are taken', 'open', {
    description:
      'The status is ready, draining, or degraded while the log is down: then lines are held, publishes are refused, and problem says why.',
    responses: {
      '503': { description: 'The server drains', content: inJson(PAGE_ANSWERS.ready) },
    },
  }),
  '/-/stats': page('stats', 'Figures and counters', 'key'),
  '/-/memory': page('memory', 'Where the memory is', 'key'),
  '/-/connections': {
    ...page('connections', 'The lines that lag or hold most', 'key', {
      parameters: [sorted(LINE_ORDERS), QUERY_PARAMETERS.limit],
      codes: ['HOLDLINE_BAD_QUERY'],
    }),
    delete: endConnections,
  },
  '/-/channels': page('channels', 'The channels, those with most lines or events first', 'key', {
    parameters: [
      sorted(CHANNEL_ORDERS),
      QUERY_PARAMETERS.limit,
      inQuery('after', 'where the page begins: next of the page before it', { type: 'string' }),
    ],
    codes: ['HOLDLINE_BAD_QUERY'],
  }),
  '/-/channels/{channel}': {
    parameters: [ONE_CHANNEL_IN_PATH],
    ...page('channel', 'One channel: its lines, what it holds, how busy it is', 'key', {
      parameters: [
        inQuery('users', '1: whose the lines are', { type: 'string', enum: ['0', '1'] }),
      ],
      codes: ['HOLDLINE_BAD_QUERY', 'HOLDLINE_BAD_CHANNEL', 'HOLDLINE_NOT_FOUND'],
    }),
  },
  '/-/watch': { get: watchCounts },
  '/-/metrics': page('metrics', 'Metrics as Prometheus reads them', 'key', {
    contentType: 'text/plain',
  }),
  '/-/openapi.json': page('openapi', 'This description', 'open'),
};
