/**
 * The OpenAPI description of everything that a server answers (OpenAPI 3.1.1), but the pages of the
 * demo. `/-/openapi.json` serves it; test/openapi.test.ts holds it against the routes, the codes
 * and the names of queries.
 */
import { QUERY_NAMES } from '../http/query.js';
import { VERSION } from '../version.js';
import { OPERATOR_PATHS, page } from './openapi-operations.js';
import {
  ANY_REQUEST,
  BATCH_WORDS,
  BEARER,
  CHANNEL_IN_PATH,
  IDEMPOTENCY_KEY_HEADER,
  inJson,
  LAST_EVENT_ID_HEADER,
  NAMED_BATCH_WORDS,
  PUBLISHING,
  QUERY_PARAMETERS,
  refusals,
  RIGHTS,
  schema,
  SCHEMAS,
  type Json,
} from './openapi-parts.js';

const POSITION = {
  'Holdline-Position': { description: 'the id to continue after', schema: { type: 'integer' } },
} as const;

/** What shows that a client may: nothing where the server is open. */
const MAYBE_BEARER: Json = [{ bearer: [] }, {}];

const subscribe: Json = {
  operationId: 'subscribe',
  summary: 'Listen to a channel, or to several',
  description:
    'Accept and Upgrade choose the transport: an event stream (also without Accept), a stream of JSON, a poll (also with since, wait or limit in the query), or a WebSocket. The server tells what was lost in a gap notice, and why it ends a line in an end event. An EventSource that is refused for a temporary reason gets 200, retry and the end of the stream. HEAD answers the same without a body, and never waits.',
  parameters: [
    LAST_EVENT_ID_HEADER,
    ...QUERY_NAMES.GET.map((name): Json => QUERY_PARAMETERS[name]),
    QUERY_PARAMETERS.ticket,
  ],
  security: MAYBE_BEARER,
  responses: {
    '101': {
      description:
        'A WebSocket: messages of one or more lines of JSON. What its client sends is answered in lines, too, with the codes of a publish and HOLDLINE_BAD_MESSAGE.',
      headers: POSITION,
    },
    '200': {
      description: 'A stream, or the events that a poll found',
      headers: POSITION,
      content: {
        'text/event-stream': { schema: { type: 'string' } },
        'application/x-ndjson': { schema: schema('Event') },
        'application/json': {
          schema: { oneOf: [schema('Event'), { type: 'array', items: schema('Event') }] },
        },
      },
    },
    '204': {
      description:
        'A poll found nothing, or an event stream has nothing to come back for: the channel was deleted',
      headers: POSITION,
    },
    ...refusals(ANY_REQUEST, RIGHTS, [
      'HOLDLINE_BAD_CHANNEL',
      'HOLDLINE_BAD_POSITION',
      'HOLDLINE_BAD_QUERY',
      'HOLDLINE_NOT_FOUND',
      'HOLDLINE_BAD_HANDSHAKE',
      'HOLDLINE_DRAINING',
      'HOLDLINE_LINES_FULL',
      'HOLDLINE_TOO_MANY_LINES',
      'HOLDLINE_ACCEPT_RATE',
      'HOLDLINE_POLLS_FULL',
      'HOLDLINE_MEMORY_FULL',
      'HOLDLINE_CHANNELS_FULL',
      'HOLDLINE_LOG_UNAVAILABLE',
    ]),
  },
};

const publish: Json = {
  operationId: 'publish',
  summary: 'Publish to a channel',
  parameters: [
    IDEMPOTENCY_KEY_HEADER,
    ...QUERY_NAMES.POST.map((name): Json => QUERY_PARAMETERS[name]),
  ],
  security: MAYBE_BEARER,
  requestBody: {
    description: `The data of one event, or a batch. ${BATCH_WORDS}.`,
    content: {
      'text/plain': { schema: { type: 'string' } },
      'application/json': { schema: {} },
      'application/x-ndjson': {
        schema: { type: 'string' },
        example: '{"event":"notice","data":"one"}\n{"data":{"two":2}}\n',
      },
    },
  },
  responses: {
    '200': {
      description: 'It was published',
      content: inJson({ oneOf: [schema('Receipt'), schema('BatchReceipt')] }),
    },
    ...refusals(ANY_REQUEST, RIGHTS, PUBLISHING, ['HOLDLINE_BAD_JSON', 'HOLDLINE_NOT_FOUND']),
  },
};

const publishMany: Json = {
  operationId: 'publishToSeveral',
  summary: 'Publish to several channels, all or nothing',
  description:
    'It never waits: when one channel has no room, nothing is published. The client must have the right to publish to each of the channels. An Idempotency-Key counts within the credential.',
  parameters: [IDEMPOTENCY_KEY_HEADER],
  security: MAYBE_BEARER,
  requestBody: {
    required: true,
    description: NAMED_BATCH_WORDS,
    content: {
      'application/x-ndjson': {
        schema: schema('Line'),
        example: '{"channel":"org/7/alerts","data":"one"}\n{"channel":"org/8","data":2}\n',
      },
    },
  },
  responses: {
    '200': { description: 'All of it was published', content: inJson(schema('BatchReceipt')) },
    ...refusals(ANY_REQUEST, RIGHTS, PUBLISHING),
  },
};

const makeTicket: Json = {
  operationId: 'makeTicket',
  summary: 'Make a ticket with which a page may listen',
  description:
    'A ticket stands in the query of a GET, for clients that cannot send Authorization, and is for nothing but to subscribe. It is good for a few channels, and until it expires.',
  security: BEARER,
  requestBody: { required: true, content: inJson(schema('TicketRequest')) },
  responses: {
    '200': { description: 'The ticket', content: inJson(schema('Ticket')) },
    ...refusals(ANY_REQUEST, RIGHTS, [
      'HOLDLINE_BAD_CHANNEL',
      'HOLDLINE_BAD_JSON',
      'HOLDLINE_BAD_TICKET',
      'HOLDLINE_NOT_FOUND',
      'HOLDLINE_NOT_UTF8',
      'HOLDLINE_BODY_TIMEOUT',
      'HOLDLINE_TOO_LARGE',
      'HOLDLINE_PUBLISH_BUSY',
    ]),
  },
};

const deleteChannel: Json = {
  operationId: 'deleteChannel',
  summary: 'End the history of a channel, and the lines on it alone',
  security: BEARER,
  responses: {
    '200': { description: 'The id of the deletion', content: inJson(schema('Receipt')) },
    ...refusals(ANY_REQUEST, RIGHTS, [
      'HOLDLINE_BAD_CHANNEL',
      'HOLDLINE_BAD_QUERY',
      'HOLDLINE_NOT_FOUND',
      'HOLDLINE_PUBLISH_BUSY',
      'HOLDLINE_DRAINING',
      'HOLDLINE_CHANNELS_FULL',
      'HOLDLINE_LOG_UNAVAILABLE',
      'HOLDLINE_OUTCOME_UNKNOWN',
    ]),
  },
};

/** The paths, but those of the demo. */
const PATHS: Readonly<Record<string, Json>> = {
  '/': page('landing', 'What the server is, and how to try it', 'host', {
    contentType: 'text/html',
  }),
  '/{channel}': {
    parameters: [CHANNEL_IN_PATH],
    get: subscribe,
    post: publish,
    delete: deleteChannel,
  },
  '/-/publish': { post: publishMany },
  '/-/tickets': { post: makeTicket },
  ...OPERATOR_PATHS,
};

/** The description. */
export const OPENAPI = {
  openapi: '3.1.1',
  info: {
    title: 'Holdline',
    version: VERSION,
    description:
      'Holds lines open and pushes each event to everyone at once. Another method than a path has is answered 405 HOLDLINE_METHOD_NOT_ALLOWED with Allow, and another path under /-/ 404 HOLDLINE_NOT_FOUND. OPTIONS answers what is allowed, and preflights.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/' }],
  paths: PATHS,
  components: {
    securitySchemes: {
      bearer: {
        type: 'http',
        scheme: 'bearer',
        description: 'A key or a token, in the header Authorization and never in the query',
      },
    },
    schemas: SCHEMAS,
  },
} as const satisfies Json;
