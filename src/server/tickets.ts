/**
 * `POST /-/tickets`: a client with a key or a token gets a ticket for a page, which cannot send
 * either with an EventSource or a WebSocket.
 */
import type { Rights } from '../auth/rights.js';
import type { Hub } from '../core/hub.js';
import type { Counters } from '../counters.js';
import { HoldlineError } from '../errors.js';
import { IncomingBody } from '../http/body.js';
import { forbidden } from '../http/credentials.js';
import type { Exchange } from '../http/exchange.js';
import { contentLengthOf } from '../http/framing.js';
import type { Guard } from '../http/guard.js';
import type { Head } from '../http/head.js';
import { checkChannelName } from '../http/request.js';
import {
  TICKET_BODY_BYTES_MAX,
  TICKET_CHANNELS_MAX,
  TICKET_DEFAULT_SECONDS,
  TICKET_LIFETIME_MS_MAX,
} from '../limits.js';
import { checkUtf8 } from '../transports/publish.js';

/** What making tickets takes of the server. */
export interface TicketParts {
  readonly guard: Guard;
  readonly hub: Pick<Hub<never>, 'reserveAhead'>;
  readonly counters: Counters;
}

/** The body of a request for a ticket. */
export interface TicketRequest {
  readonly channels: readonly string[];
  readonly seconds: number;
  readonly user: string | undefined;
}

const MEMBERS: ReadonlySet<string> = new Set(['channels', 'seconds', 'user']);
const SECONDS_MAX = TICKET_LIFETIME_MS_MAX / 1000;

/**
 * Receives the request and answers `{"ticket","expiresAt"}`, the time in ms since the epoch; called
 * in the request's turn. Rejects with HOLDLINE_UNAUTHORIZED, HOLDLINE_FORBIDDEN for channels or a
 * user that are not the client's, HOLDLINE_NOT_FOUND if the server makes no tickets, and with
 * HOLDLINE_BAD_TICKET, HOLDLINE_BAD_CHANNEL and what is wrong with a body.
 */
export async function makeTicket(
  { guard, hub, counters }: TicketParts,
  exchange: Exchange,
  head: Head,
): Promise<void> {
  const { tickets } = guard;
  if (tickets === undefined) {
    throw new HoldlineError(
      'HOLDLINE_NOT_FOUND',
      'this server makes no tickets; start it with --ticket-secret-file',
    );
  }
  const requester = guard.requester(head, 'ticket');
  const reservation = hub.reserveAhead();
  const incoming = new IncomingBody(
    exchange,
    contentLengthOf(head),
    TICKET_BODY_BYTES_MAX,
    reservation,
  );
  try {
    const [rights] = await Promise.all([requester, incoming.receive()]);
    if (exchange.gone) return;
    const { channels, seconds, user } = ticketRequestOf(incoming.body);
    checkTicket(guard, rights, channels, user);
    const expiresAtMs = Math.min(Date.now() + seconds * 1000, rights.expiresAtMs ?? Infinity);
    const { issuedAtMs } = rights;
    const made = tickets.make({ channels, user: user ?? rights.user, issuedAtMs, expiresAtMs });
    counters.tickets_made_total++;
    exchange.answerJson(JSON.stringify({ ticket: made.ticket, expiresAt: made.expiresAtMs }));
  } finally {
    incoming.stop();
    reservation.release();
  }
}

/**
 * A ticket gives no more than its maker may read, to its maker. An operator makes tickets for
 * anybody, also for patterns: it is the program that knows its users.
 */
function checkTicket(
  guard: Guard,
  rights: Rights,
  channels: readonly string[],
  user: string | undefined,
): void {
  if (rights.isOps) return;
  for (const channel of channels) checkChannelName(channel);
  guard.checkRights(rights, 'subscribe', channels);
  if (user !== undefined && user !== rights.user) throw forbidden('ticket');
}

/** Reads the body. Throws HOLDLINE_NOT_UTF8, HOLDLINE_BAD_JSON or HOLDLINE_BAD_TICKET. */
export function ticketRequestOf(body: Buffer): TicketRequest {
  checkUtf8(body, 'body');
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    // The message of V8 would quote the body.
    throw new HoldlineError('HOLDLINE_BAD_JSON', 'the body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badTicket('the body must be an object');
  const unknown = Object.keys(value).find((name) => !MEMBERS.has(name));
  if (unknown !== undefined)
    throw badTicket(`${JSON.stringify(unknown.slice(0, 64))} is no member`);
  const members: Readonly<Record<string, unknown>> = { ...value };
  const { channels, seconds = TICKET_DEFAULT_SECONDS, user } = members;
  if (
    !Array.isArray(channels) ||
    channels.length < 1 ||
    channels.length > TICKET_CHANNELS_MAX ||
    !channels.every((name) => typeof name === 'string')
  )
    throw badTicket(`"channels" must be an array of 1 to ${TICKET_CHANNELS_MAX} names`);
  if (!isWhole(seconds) || seconds < 1 || seconds > SECONDS_MAX)
    throw badTicket(`"seconds" must be an integer from 1 to ${SECONDS_MAX}`);
  if (user !== undefined && typeof user !== 'string') throw badTicket('"user" must be a string');
  return { channels, seconds, user };
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value);
}

function badTicket(problem: string): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_BAD_TICKET',
    `${problem}; send {"channels":[…],"seconds"?,"user"?}`,
  );
}
