/**
 * Tickets: signed text that a page puts into the URL of an event stream, where it cannot set a
 * header. A ticket reads some channels, for one user, for at most an hour; every node with the
 * secret accepts it, and it may be used until it expires, since an EventSource comes back with the
 * URL it was opened with.
 *
 * It is `v1.PAYLOAD.MAC`, both in base64url without padding (RFC 4648, 5). The payload is JSON:
 * `c` channels, `u` user, `i` and `e` the times of issue and end in whole seconds since the epoch.
 * The MAC is HMAC-SHA-256 (RFC 2104) of `holdline-ticket:v1.PAYLOAD`, so that nothing else which is
 * signed with the same secret, such as a JWT, can pass for a ticket.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { HoldlineError } from '../errors.js';
import {
  CLOCK_TOLERANCE_MS,
  TICKET_CHANNELS_MAX,
  TICKET_CHARS_MAX,
  TICKET_LIFETIME_MS_MAX,
} from '../limits.js';
import { BadCredential } from './bad-credential.js';
import { compilePattern } from './pattern.js';
import { isUserName, makeRights, type Rights } from './rights.js';

const VERSION = 'v1';
const FORM = /^v1\.([\w-]{1,4096})\.([\w-]{43})$/;

/** What a ticket is made of. */
export interface TicketParts {
  /** Names or patterns, 1 to TICKET_CHANNELS_MAX. */
  readonly channels: readonly string[];
  readonly user: string | undefined;
  /**
   * When the credential behind it was issued, ms: what revokes that one revokes the ticket.
   * Undefined: now.
   */
  readonly issuedAtMs: number | undefined;
  /** The wanted end, ms; it comes earlier where TICKET_LIFETIME_MS_MAX says so. */
  readonly expiresAtMs: number;
}

/** A ticket that was made. */
export interface Ticket {
  readonly ticket: string;
  /** The end in fact, ms since the epoch, in whole seconds. */
  readonly expiresAtMs: number;
}

/** What the payload of a ticket holds. */
interface Payload {
  readonly c: readonly string[];
  readonly u?: string;
  readonly i: number;
  readonly e: number;
}

export class Tickets {
  readonly #secrets: readonly string[];
  readonly #nowMs: () => number;

  /** New tickets are signed with the first secret; those of all are accepted. */
  constructor(secrets: readonly string[], nowMs: () => number = Date.now) {
    this.#secrets = secrets;
    this.#nowMs = nowMs;
  }

  /** False without a secret: then nothing is a ticket. */
  get areAccepted(): boolean {
    return this.#secrets.length > 0;
  }

  /** Throws HOLDLINE_BAD_TICKET for channels that are no patterns, none, or too many. */
  make({ channels, user, issuedAtMs, expiresAtMs }: TicketParts): Ticket {
    if (channels.length < 1 || channels.length > TICKET_CHANNELS_MAX)
      throw cannotMake(`needs 1 to ${TICKET_CHANNELS_MAX} channels (got ${channels.length})`);
    const bad = channels.find((text) => compilePattern(text) === undefined);
    if (bad !== undefined)
      throw cannotMake(
        `needs names of channels or patterns (got ${JSON.stringify(bad.slice(0, 200))})`,
      );
    if (user !== undefined && !isUserName(user)) throw cannotMake('needs a user that can be shown');
    const nowMs = this.#nowMs();
    const payload: Payload = {
      c: channels,
      ...(user === undefined ? {} : { u: user }),
      i: Math.floor((issuedAtMs ?? nowMs) / 1000),
      e: Math.floor(Math.min(expiresAtMs, nowMs + TICKET_LIFETIME_MS_MAX) / 1000),
    };
    const signed = `${VERSION}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`;
    const mac = macOf(signed, this.#secrets[0]!).toString('base64url');
    const ticket = `${signed}.${mac}`;
    if (ticket.length > TICKET_CHARS_MAX)
      throw cannotMake(`would have ${ticket.length} characters; allowed: ${TICKET_CHARS_MAX}`);
    return { ticket, expiresAtMs: payload.e * 1000 };
  }

  /** Throws a {@link BadCredential} for one that is wrong or expired. */
  verify(ticket: string): Rights {
    const form = ticket.length <= TICKET_CHARS_MAX ? FORM.exec(ticket) : null;
    if (form === null) throw refused('is not in the form of one');
    const [, text, macText] = form as unknown as readonly [string, string, string];
    const mac = Buffer.from(macText, 'base64url');
    const signed = ticket.slice(0, -macText.length - 1);
    let isSigned = false;
    // All of them, so that the time does not tell which secret was right.
    for (const secret of this.#secrets)
      isSigned = timingSafeEqual(mac, macOf(signed, secret)) || isSigned;
    if (!isSigned) throw refused('is not signed with a secret of this server');

    const { c, u, i, e } = readPayload(text);
    const nowMs = this.#nowMs();
    if (e * 1000 <= nowMs) throw refused('has expired', true);
    // Whoever has the secret can sign anything; an hour is kept all the same.
    if (e * 1000 > nowMs + TICKET_LIFETIME_MS_MAX + CLOCK_TOLERANCE_MS)
      throw refused('is for longer than an hour');
    const subscribe = c.map((pattern) => compilePattern(pattern));
    if (!subscribe.every((pattern) => pattern !== undefined))
      throw refused('names what is no channel');
    return makeRights({
      user: u,
      credential: `ticket:${u ?? ''}`,
      grants: { subscribe },
      issuedAtMs: i * 1000,
      expiresAtMs: e * 1000,
    });
  }
}

/** Another program may have the secret and sign what is in no such form. */
function readPayload(text: string): Payload {
  let payload: unknown;
  try {
    payload = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    throw refused('has a payload that is not JSON');
  }
  if (!isPayload(payload)) throw refused('has a payload with other members than { c, u?, i, e }');
  return payload;
}

function isPayload(value: unknown): value is Payload {
  if (typeof value !== 'object' || value === null) return false;
  const { c, u, i, e } = value as Readonly<Record<string, unknown>>;
  return (
    Array.isArray(c) &&
    c.length <= TICKET_CHANNELS_MAX &&
    c.every((name) => typeof name === 'string') &&
    (u === undefined || isUserName(u)) &&
    Number.isSafeInteger(i) &&
    Number.isSafeInteger(e)
  );
}

function macOf(signed: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(`holdline-ticket:${signed}`).digest();
}

function cannotMake(problem: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_TICKET', `a ticket ${problem}`);
}

function refused(problem: string, isExpired = false): BadCredential {
  return new BadCredential(`the ticket ${problem}`, { isExpired, isTicket: true });
}
