/** Tickets: what they are bound to, how long, with which secrets, and what is none. */
import { createHmac } from 'node:crypto';
import { fc } from './support/properties.js';
import { expect, test } from 'vitest';
import { BadCredential } from '../src/auth/bad-credential.js';
import { Tickets, type TicketParts } from '../src/auth/tickets.js';

const NOW_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const OLD = 'o'.repeat(32);
const NEW = 'n'.repeat(32);

const tickets = (secrets: readonly string[] = [NEW], nowMs = NOW_MS): Tickets =>
  new Tickets(secrets, () => nowMs);

const parts = (more: Partial<TicketParts> = {}): TicketParts => ({
  channels: ['a', 'org/7/**'],
  user: 'ann',
  issuedAtMs: NOW_MS - 10_000,
  expiresAtMs: NOW_MS + 60_000,
  ...more,
});

/** Signs any payload as a server with the secret would. */
function forge(payload: unknown, prefix = 'holdline-ticket:', secret = NEW): string {
  const signed = `v1.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`;
  const mac = createHmac('sha256', secret).update(`${prefix}${signed}`).digest('base64url');
  return `${signed}.${mac}`;
}

function expectRefusal(verify: () => unknown): BadCredential {
  try {
    verify();
  } catch (error) {
    expect(error).toBeInstanceOf(BadCredential);
    expect(error).toMatchObject({ code: 'HOLDLINE_UNAUTHORIZED', isTicket: true });
    return error as BadCredential;
  }
  throw new Error('nothing was refused');
}

test('a ticket reads its channels, for its user, and does nothing else', () => {
  const { ticket, expiresAtMs } = tickets().make(parts());
  expect(expiresAtMs).toBe(NOW_MS + 60_000);
  const rights = tickets().verify(ticket);
  expect(rights).toMatchObject({
    user: 'ann',
    credential: 'ticket:ann',
    isOps: false,
    issuedAtMs: NOW_MS - 10_000,
    expiresAtMs: NOW_MS + 60_000,
  });
  expect(['a', 'org/7/x', 'b', 'org/8/x'].map((name) => rights.may('subscribe', name))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  for (const action of ['publish', 'delete', 'watch'] as const)
    expect(rights.may(action, 'a')).toBe(false);
});

test('it fits a URL as it is, and may be used again', () => {
  const { ticket } = tickets().make(parts());
  expect(ticket).toMatch(/^v1\.[\w-]+\.[\w-]{43}$/);
  expect(encodeURIComponent(ticket)).toBe(ticket);
  const all = tickets();
  expect(all.verify(ticket).user).toBe(all.verify(ticket).user);
});

test('it lasts for at most an hour, and is refused from its end on', () => {
  const { ticket, expiresAtMs } = tickets().make(parts({ expiresAtMs: NOW_MS + 9 * HOUR_MS }));
  expect(expiresAtMs).toBe(NOW_MS + HOUR_MS);
  expect(tickets([NEW], expiresAtMs - 1).verify(ticket).expiresAtMs).toBe(expiresAtMs);
  const error = expectRefusal(() => tickets([NEW], expiresAtMs).verify(ticket));
  expect(error).toMatchObject({ message: 'the ticket has expired', isExpired: true });
  const years = forge({ c: ['a'], i: NOW_MS / 1000, e: NOW_MS / 1000 + 3_700 });
  expect(expectRefusal(() => tickets().verify(years)).message).toBe(
    'the ticket is for longer than an hour',
  );
});

test('a secret is replaced without refusing a ticket', () => {
  const { ticket: old } = tickets([OLD]).make(parts());
  const both = tickets([NEW, OLD]);
  expect(both.verify(old).user).toBe('ann');
  const { ticket } = both.make(parts());
  expect(tickets([NEW]).verify(ticket).user).toBe('ann');
  expect(expectRefusal(() => tickets([OLD]).verify(ticket)).message).toMatch(
    /not signed with a secret/,
  );
  expect(expectRefusal(() => tickets([NEW]).verify(old)).isExpired).toBe(false);
});

test('no character of it can be changed', () => {
  const all = tickets();
  const { ticket } = all.make(parts());
  const characters = 'ABCxyz019-_.'.split('');
  fc.assert(
    fc.property(fc.nat(ticket.length - 1), fc.constantFrom(...characters), (at, character) => {
      const changed = ticket.slice(0, at) + character + ticket.slice(at + 1);
      // The last character of base64url has two bits that say nothing.
      if (changed === ticket || at === ticket.length - 1) return;
      expectRefusal(() => all.verify(changed));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['nothing', ''],
  ['another version', 'v2.e30.' + 'A'.repeat(43)],
  ['a short MAC', 'v1.e30.AAAA'],
  ['a long one', `v1.${'A'.repeat(5_000)}.${'A'.repeat(43)}`],
  ['no version', forge({ c: ['a'] }).slice(3)],
  ['what is signed for something else', forge({ c: ['a'], i: 1, e: NOW_MS / 1000 + 9 }, '')],
])('%s is no ticket', (_, text) => void expectRefusal(() => tickets().verify(text)));

test('without a secret nothing is a ticket', () => {
  const none = tickets([]);
  expect(none.areAccepted).toBe(false);
  expectRefusal(() => none.verify(tickets().make(parts()).ticket));
});

test.each([
  [{ channels: [] }],
  [{ channels: Array.from({ length: 17 }, (_, i) => `c${i}`) }],
  [{ channels: ['a b'] }],
  [{ channels: ['a', '../x'] }],
  [{ user: '' }],
  [{ user: 'a\nb' }],
])('none is made for %j', (more) => {
  expect(() => tickets().make(parts(more))).toThrow(
    expect.objectContaining({ code: 'HOLDLINE_BAD_TICKET' }),
  );
});

test('the largest one is within its bound', () => {
  const channels = Array.from({ length: 16 }, (_, i) => `${i}${'x'.repeat(126)}`);
  const { ticket } = tickets().make(parts({ channels, user: '\u{1f600}'.repeat(64) }));
  expect(ticket.length).toBeLessThanOrEqual(4096);
  expect(tickets().verify(ticket).may('subscribe', channels[0]!)).toBe(true);
});

test.each([
  null,
  'text',
  [],
  {},
  { c: 'a', i: 1_799_999_990, e: 1_800_000_060 },
  { c: [5], i: 1_799_999_990, e: 1_800_000_060 },
  { c: ['a'], u: 5, i: 1_799_999_990, e: 1_800_000_060 },
  { c: ['a'], i: 1_799_999_990, e: 'never' },
  { c: ['a'], i: 1_799_999_990 },
  { c: ['a'], e: 1_800_000_060 },
])('%j is no payload, whoever signed it', (payload) => {
  const { message } = expectRefusal(() => tickets().verify(forge(payload)));
  expect(message).toContain('payload');
});
