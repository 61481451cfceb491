/**
 * The guard on its own: revocation against the time of issue, other keys while it runs, and the
 * answers of a program's `authorize`.
 */
import { createHash } from 'node:crypto';
import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import type { Authorize } from '../src/http/authorize.js';
import { decisionOf } from '../src/http/decision.js';
import { Guard, type Grant, type GuardOptions } from '../src/http/guard.js';
import type { Head } from '../src/http/head.js';
import { resolveOptions } from '../src/options/settings.js';
import type { Options } from '../src/options/options.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';

function headOf(headers: Readonly<Record<string, string>>, query?: string): Head {
  const find = (name: string): string | undefined => headers[name];
  const head = { query, find, get: (name: string) => find(name) ?? '', toObject: () => headers };
  return head as unknown as Head;
}

const shows = (text: string): Head => headOf({ authorization: `Bearer ${text}` });

function guardWith(options: Options, authorize?: Authorize, faults: unknown[] = []): Guard {
  return new Guard(optionsOf(options, authorize, faults));
}

function optionsOf(options: Options, authorize?: Authorize, faults: unknown[] = []): GuardOptions {
  const opsKey = 'ops-key';
  const jwks = { fetched: () => {}, failed: () => {} };
  const report = (error: unknown): void => void faults.push(error);
  return { ...resolveOptions(options), opsKey, authorize, report, jwks };
}

/** A token that `user` got so long ago. */
function token(user: string, ageSeconds: number): Promise<string> {
  const iat = Math.floor(Date.now() / 1000) - ageSeconds;
  return new SignJWT({ sub: user, iat, exp: iat + 3600, holdline: { subscribe: ['**'] } })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
}

const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

describe('revocation', () => {
  test('refuses what was issued before it, to that user, and leaves the rest', async () => {
    const guard = guardWith({ jwtSecret: SECRET, ticketSecret: [SECRET] });
    void guard.revoke('ada');
    const read = async (text: string): Promise<Grant> => guard.maySubscribe(shows(text), ['c']);
    await expect(read(await token('ada', 10))).rejects.toThrow(code('HOLDLINE_REVOKED'));
    await expect(read(await token('bob', 10))).resolves.toMatchObject({ user: 'bob' });
    await expect(read(await token('ada', -2))).resolves.toMatchObject({ user: 'ada' });
  });

  test('refuses a ticket of that user', () => {
    const guard = guardWith({ ticketSecret: [SECRET] });
    const expiresAtMs = Date.now() + 60_000;
    const parts = { channels: ['c'], user: 'ada', issuedAtMs: Date.now() - 10_000, expiresAtMs };
    const { ticket } = guard.tickets!.make(parts);
    const read = (): unknown => guard.maySubscribe(headOf({}, `ticket=${ticket}`), ['c']);
    expect(read()).toMatchObject({ user: 'ada', endsAtMs: Math.floor(expiresAtMs / 1000) * 1000 });
    void guard.revoke('ada');
    expect(read).toThrow(code('HOLDLINE_REVOKED'));
  });

  test('counts when it comes while the program decides', async () => {
    const guard = guardWith({ jwtSecret: SECRET }, () => ({ allow: true, user: 'Ada L.' }));
    const grant = await guard.maySubscribe(shows(await token('ada', 10)), ['c']);
    expect(() => guard.checkGrant(grant)).not.toThrow();
    // By the name that the program gave.
    void guard.revoke('Ada L.');
    expect(() => guard.checkGrant(grant)).toThrow(code('HOLDLINE_REVOKED'));
  });

  test('a grant that has expired meanwhile opens nothing', () => {
    const guard = guardWith({}, () => ({ allow: true, expiresAt: Date.now() + 60_000 }));
    const grant = guard.maySubscribe(headOf({}), ['c']) as Grant;
    expect(() => guard.checkGrant(grant)).not.toThrow();
    const later = { ...grant, endsAtMs: Date.now() - 1 };
    expect(() => guard.checkGrant(later)).toThrow(code('HOLDLINE_UNAUTHORIZED'));
  });
});

describe('other settings while it runs', () => {
  const sha256 = createHash('sha256').update('desk-key').digest('hex');
  const desk = { name: 'desk', sha256, publish: ['desk-*'], subscribe: ['desk-*'] };

  test('take the place of those before', () => {
    const guard = guardWith({ publishKey: 'first' });
    expect(guard.mayPublish(shows('first'), ['c'])).toBeDefined();
    guard.reload(optionsOf({ publishKey: 'second', keys: [desk] }));
    expect(() => guard.mayPublish(shows('first'), ['c'])).toThrow(code('HOLDLINE_UNAUTHORIZED'));
    expect(guard.mayPublish(shows('second'), ['c'])).toBeDefined();
    expect(guard.mayPublish(shows('desk-key'), ['desk-1'])).toBeDefined();
    expect(() => guard.maySubscribe(headOf({}), ['c'])).toThrow(code('HOLDLINE_UNAUTHORIZED'));
  });

  test('that cannot be used change nothing, and a revocation stays', async () => {
    const guard = guardWith({ jwtSecret: SECRET });
    void guard.revoke('ada');
    const bad = { ...optionsOf({}), jwtPublicKey: 'no key' };
    expect(() => guard.reload(bad)).toThrow(code('HOLDLINE_BAD_OPTION'));
    guard.reload(optionsOf({ jwtSecret: SECRET }));
    const read = guard.maySubscribe(shows(await token('ada', 10)), ['c']);
    await expect(read).rejects.toThrow(code('HOLDLINE_REVOKED'));
  });

  test('one key may be both the publish key and the ops key', () => {
    const guard = guardWith({ publishKey: 'ops-key' });
    expect(guard.mayPublish(shows('ops-key'), ['c'])).toBeDefined();
    expect(guard.mayOperate(shows('ops-key'))).toMatchObject({ isOps: true });
    expect(guard.mayDelete(shows('ops-key'), 'c')).toBeDefined();
  });
});

test('keys are checked in the turn of the request, and nothing that is waited for is asked', () => {
  const guard = guardWith({ publishKey: 'first' });
  expect(guard.mayPublish(shows('first'), ['c'])).not.toBeInstanceOf(Promise);
  expect(guard.maySubscribe(headOf({}), ['c'])).not.toBeInstanceOf(Promise);
  expect(guard.mayOperate(shows('ops-key'))).not.toBeInstanceOf(Promise);
});

describe('an answer of authorize', () => {
  test('whose end has passed already opens nothing, at once or later', async () => {
    const past = { allow: true, expiresAt: Date.now() - 1 };
    const atOnce = guardWith({ openPublish: true }, () => past);
    expect(() => atOnce.maySubscribe(headOf({}), ['c'])).toThrow(code('HOLDLINE_UNAUTHORIZED'));
    expect(() => atOnce.mayPublish(headOf({}), ['c'])).toThrow(code('HOLDLINE_UNAUTHORIZED'));
    const later = guardWith({}, async () => past);
    const grant = later.maySubscribe(headOf({}), ['c']) as Promise<Grant>;
    await expect(grant).rejects.toThrow(code('HOLDLINE_UNAUTHORIZED'));
  });

  test('is about the channels that were asked for, whatever the program does to its list', () => {
    const names = ['mine'];
    const guard = guardWith({}, ({ channels }) => {
      (channels as string[])[0] = 'other';
      return true;
    });
    expect(guard.maySubscribe(headOf({}), names)).toMatchObject({ channels: ['mine'] });
    expect(names).toEqual(['mine']);
  });

  const request = {
    action: 'subscribe',
    channels: ['me', 'news'],
    headers: {},
    query: '',
    user: undefined,
  } as const;
  const expiresAt = new Date('2030-01-01T00:00:00Z');

  test.each([
    [true, { allow: true, channels: ['me', 'news'], endsAtMs: Infinity }],
    [false, { allow: false }],
    [{ allow: false }, { allow: false }],
    [
      { allow: true, user: 'ada' },
      { allow: true, user: 'ada' },
    ],
    [{ allow: true, user: undefined, channels: undefined, expiresAt: undefined }, { allow: true }],
    [{ allow: true, expiresAt }, { endsAtMs: expiresAt.getTime() }],
    [{ allow: true, expiresAt: expiresAt.getTime() }, { endsAtMs: expiresAt.getTime() }],
    [{ allow: true, channels: { me: 'user-42' } }, { channels: ['user-42', 'news'] }],
    [{ allow: true, channels: { me: 'news' } }, { channels: ['news'] }],
    [{ allow: true, channels: { other: 'x' } }, { channels: ['me', 'news'] }],
  ])('%j is read', (answered, decision) => {
    expect(decisionOf(answered, request)).toMatchObject(decision);
  });

  test.each([
    undefined,
    null,
    0,
    'yes',
    {},
    [],
    { allow: 1 },
    { allow: true, users: 'ada' },
    { allow: true, user: '' },
    { allow: true, user: 'a\r\nb' },
    { allow: true, user: 'x'.repeat(129) },
    { allow: true, user: 7 },
    { allow: true, expiresAt: 'tomorrow' },
    { allow: true, expiresAt: new Date('x') },
    { allow: true, expiresAt: Number.NaN },
    // Seconds.
    { allow: true, expiresAt: 1_893_456_000 },
    { allow: true, channels: ['user-42'] },
    { allow: true, channels: 'user-42' },
    { allow: true, channels: { me: 42 } },
    { allow: true, channels: { me: 'a b' } },
    { allow: true, channels: { me: 'user\r\n42' } },
    { allow: true, channels: { me: '' } },
  ])('%j is none', (answered) => {
    expect(() => decisionOf(answered, request)).toThrow(/^authorize must answer /);
  });

  test('maps channels for subscribe alone', () => {
    const answered = { allow: true, channels: { me: 'user-42' } };
    for (const action of ['publish', 'delete'] as const)
      expect(() => decisionOf(answered, { ...request, action })).toThrow(/no channels for/);
  });

  test('that is none refuses the request, and is reported', () => {
    const faults: unknown[] = [];
    const guard = guardWith({}, () => ({ allow: 'yes' }) as never, faults);
    expect(() => guard.maySubscribe(headOf({}), ['c'])).toThrow(code('HOLDLINE_FORBIDDEN'));
    expect(faults).toEqual([expect.any(TypeError)]);
  });

  test('has the user of the credential to go by, and cannot outlast it', async () => {
    const asked: unknown[] = [];
    const authorize: Authorize = ({ user }) => {
      asked.push(user);
      return { allow: true, expiresAt: Date.now() + 1e9 };
    };
    const guard = guardWith({ jwtSecret: SECRET, openSubscribe: true }, authorize);
    const granted = await guard.maySubscribe(shows(await token('ada', 0)), ['c']);
    expect(granted.endsAtMs).toBe(granted.rights.expiresAtMs);
    expect(guard.maySubscribe(headOf({}), ['c'])).toMatchObject({ user: undefined });
    expect(asked).toEqual(['ada', undefined]);
  });
});
