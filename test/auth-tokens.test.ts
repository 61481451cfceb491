/** Tokens: whose signature counts, which claims must be there, and which rights come of them. */
import {
  createHmac,
  createPrivateKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from 'node:crypto';
import { SignJWT, UnsecuredJWT, type JWTPayload } from 'jose';
import { describe, expect, it, test } from 'vitest';
import { BadCredential } from '../src/auth/bad-credential.js';
import { Tokens, type TokenSettings } from '../src/auth/tokens.js';

const SECRET = 'a secret of thirty-two bytes or so'.replaceAll(' ', '-');
const NOW = 1_800_000_000;
const HOUR = 3_600;

const settings = (more: Partial<TokenSettings>): TokenSettings => ({
  jwtSecret: undefined,
  jwtPublicKey: undefined,
  jwtJwks: undefined,
  jwtAudience: undefined,
  jwtIssuer: undefined,
  jwtMaxLifetimeMs: 86_400_000,
  ...more,
});

const tokensOf = (more: Partial<TokenSettings> = { jwtSecret: SECRET }): Tokens =>
  Tokens.of(settings(more), () => NOW * 1000)!;

/** Claims that are accepted, with changes; `undefined` takes one out. */
const claims = (more: Record<string, unknown> = {}): JWTPayload => ({
  iat: NOW - 60,
  exp: NOW + HOUR,
  sub: 'ann',
  holdline: { subscribe: ['org/7/**'] },
  ...more,
});

const signed = (
  payload: JWTPayload,
  alg = 'HS256',
  key: KeyObject | Uint8Array = Buffer.from(SECRET),
) => new SignJWT(payload).setProtectedHeader({ alg }).sign(key);

/** A token made by hand: any header, any text as its payload. */
function byHand(header: object, payload: string, mac: (text: string) => Buffer): string {
  const text = [JSON.stringify(header), payload]
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
  return `${text}.${mac(text).toString('base64url')}`;
}

const hs256 =
  (secret: string) =>
  (text: string): Buffer =>
    createHmac('sha256', secret).update(text).digest();

/** The words of the refusal; fails when there is none, or another. */
async function expectRefusal(tokens: Tokens, token: string | Promise<string>): Promise<string> {
  const error: unknown = await tokens.verify(await token).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BadCredential);
  expect(error).toMatchObject({ code: 'HOLDLINE_UNAUTHORIZED', isTicket: false });
  const { message, isExpired } = error as BadCredential;
  expect(isExpired).toBe(message === 'the token has expired (exp)');
  return message;
}

const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 });
const EC = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ED = generateKeyPairSync('ed25519');
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

describe('rights', () => {
  it('are those of the claim holdline, and of no other', async () => {
    const rights = await tokensOf().verify(
      await signed(
        claims({
          holdline: {
            subscribe: ['a', 'b-*'],
            publish: ['p'],
            delete: ['d'],
            watch: ['**'],
            ops: true,
          },
          subscribe: ['everything'],
        }),
      ),
    );
    expect(rights).toMatchObject({
      user: 'ann',
      credential: 'jwt:ann',
      isOps: false,
      issuedAtMs: (NOW - 60) * 1000,
      // The tolerance for clocks that differ.
      expiresAtMs: (NOW + HOUR) * 1000 + 5_000,
    });
    expect(rights.may('subscribe', 'b-1')).toBe(true);
    expect(rights.may('subscribe', 'everything')).toBe(false);
    expect(rights.may('publish', 'p')).toBe(true);
    expect(rights.may('publish', 'a')).toBe(false);
    expect(rights.may('delete', 'd')).toBe(true);
    expect(rights.may('watch', 'x/y')).toBe(true);
  });

  it.each([[undefined], [{}], [{ subscribe: [] }]])('are none with %j', async (holdline) => {
    const rights = await tokensOf().verify(await signed(claims({ holdline })));
    for (const action of ['subscribe', 'publish', 'delete', 'watch'] as const)
      expect(rights.may(action, 'a')).toBe(false);
  });

  it('belong to holdline.user before sub', async () => {
    const rights = await tokensOf().verify(await signed(claims({ holdline: { user: 'team' } })));
    expect(rights).toMatchObject({ user: 'team', credential: 'jwt:team' });
  });

  it('of tokens without a user have nothing in common', async () => {
    const verify = async (jti: string) =>
      tokensOf().verify(await signed(claims({ sub: undefined, jti })));
    const [one, again, other] = [await verify('1'), await verify('1'), await verify('2')];
    expect(one.user).toBeUndefined();
    expect(one.credential).toMatch(/^jwt:#[0-9a-f]{16}$/);
    expect(again.credential).toBe(one.credential);
    expect(other.credential).not.toBe(one.credential);
  });

  it.each([
    [{ holdline: [] }, /claim holdline that is no object/],
    [{ holdline: 'all' }, /claim holdline that is no object/],
    [{ holdline: { subscribe: 'a' } }, /holdline\.subscribe that is no list of up to 64/],
    [{ holdline: { publish: Array(65).fill('a') } }, /holdline\.publish that is no list/],
    [{ holdline: { delete: ['a b'] } }, /holdline\.delete that is no channel or pattern/],
    [{ holdline: { watch: [7] } }, /holdline\.watch that is no channel or pattern/],
    [{ holdline: { subscribe: null } }, /holdline\.subscribe that is no list/],
    [{ holdline: { user: '' } }, /holdline\.user that is no user/],
    [{ holdline: { user: 7 } }, /holdline\.user that is no user/],
    [{ sub: 'a\nb' }, /sub that is no user/],
    [{ sub: 'x'.repeat(129) }, /sub that is no user/],
  ])('in another form are refused: %j', async (more, words) => {
    expect(await expectRefusal(tokensOf(), signed(claims(more)))).toMatch(words);
  });
});

describe('times', () => {
  const at = (more: Record<string, unknown>) => signed(claims(more));

  it.each([
    [{ exp: NOW - 5 }, 'has expired (exp)'],
    [{ exp: undefined }, 'has no exp, which is needed'],
    [{ iat: undefined }, 'has no iat, which is needed'],
    [{ exp: 'soon' }, 'has a claim exp that cannot be read'],
    [{ iat: 'now' }, 'has a claim iat that cannot be read'],
    [{ nbf: NOW + 6 }, 'is not valid yet (nbf)'],
    [{ nbf: 'then' }, 'has a claim nbf that cannot be read'],
    [{ iat: NOW + 6 }, 'was issued in the future (iat)'],
    [
      { iat: NOW - 1, exp: NOW + 24 * HOUR },
      'is valid for more than 86400 s from iat to exp (--jwt-max-lifetime)',
    ],
  ])('%j is refused', async (more, words) => {
    expect(await expectRefusal(tokensOf(), at(more))).toBe(
      `the token ${words.replace(/ a (?=[ei])/, ' a ')}`,
    );
  });

  it.each([
    [{ exp: NOW - 4 }],
    [{ nbf: NOW + 5 }],
    [{ iat: NOW + 5 }],
    [{ iat: NOW, exp: NOW + 24 * HOUR }],
    [{ iat: NOW - 1.5, exp: NOW + 0.5 }],
  ])('%j is accepted', async (more) => {
    expect((await tokensOf().verify(await at(more))).user).toBe('ann');
  });

  it.each(['1e999', '-1e999', '1e400'])('exp %s is no way around the bounds', async (exp) => {
    const payload = `{"iat":${NOW},"exp":${exp},"holdline":{}}`;
    await expectRefusal(tokensOf(), byHand({ alg: 'HS256' }, payload, hs256(SECRET)));
    const early = `{"iat":-1e999,"exp":${NOW + 9},"holdline":{}}`;
    await expectRefusal(tokensOf(), byHand({ alg: 'HS256' }, early, hs256(SECRET)));
  });
});

describe('audience and issuer', () => {
  const bound = tokensOf({ jwtSecret: SECRET, jwtAudience: 'events', jwtIssuer: 'https://id' });

  it('must be those of the server', async () => {
    const right = { aud: ['other', 'events'], iss: 'https://id' };
    expect((await bound.verify(await signed(claims(right)))).user).toBe('ann');
    for (const [more, words] of [
      [{ ...right, aud: 'other' }, /its aud is another/],
      [{ ...right, iss: 'https://id/' }, /its iss is another/],
      [{ iss: 'https://id' }, /has no aud, which is needed/],
      [{ aud: 'events' }, /has no iss, which is needed/],
    ] as const)
      expect(await expectRefusal(bound, signed(claims(more)))).toMatch(words);
  });
});

describe('signatures', () => {
  it.each([
    ['RS256', RSA],
    ['ES256', EC],
    ['EdDSA', ED],
    ['Ed25519', ED],
  ])('%s is checked with the public key', async (alg, { publicKey, privateKey }) => {
    const tokens = tokensOf({ jwtPublicKey: pem(publicKey) });
    const token = await signed(claims(), alg, privateKey);
    expect((await tokens.verify(token)).user).toBe('ann');
    const type = privateKey.asymmetricKeyType as 'rsa' | 'ec' | 'ed25519';
    const other = {
      rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
      ec: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      ed25519: () => generateKeyPairSync('ed25519'),
    }[type]();
    expect(await expectRefusal(tokens, signed(claims(), alg, other.privateKey))).toBe(
      'the token is not signed with the key of this server',
    );
  });

  it('with alg none are none, signed or not', async () => {
    for (const tokens of [tokensOf(), tokensOf({ jwtPublicKey: pem(RSA.publicKey) })]) {
      await expectRefusal(tokens, new UnsecuredJWT(claims()).encode());
      for (const alg of ['none', 'None', 'NONE', '', undefined]) {
        await expectRefusal(
          tokens,
          byHand({ alg }, JSON.stringify(claims()), () => Buffer.alloc(0)),
        );
        await expectRefusal(tokens, byHand({ alg }, JSON.stringify(claims()), hs256(SECRET)));
      }
    }
  });

  it.each([
    ['RS256', RSA],
    ['ES256', EC],
    ['EdDSA', ED],
  ])('with the PEM of a %s key as a secret are refused', async (_, { publicKey }) => {
    const text = pem(publicKey);
    const tokens = tokensOf({ jwtPublicKey: text });
    for (const secret of [text, text.trim()]) {
      for (const alg of ['HS256', 'HS384', 'HS512']) {
        const token = byHand({ alg }, JSON.stringify(claims()), hs256(secret));
        expect(await expectRefusal(tokens, token)).toMatch(/its alg is another/);
      }
    }
  });

  it('by another algorithm of the same key, or with another secret, are refused', async () => {
    const tokens = tokensOf({ jwtPublicKey: pem(RSA.publicKey) });
    for (const alg of ['PS256', 'RS384', 'RS512'])
      expect(await expectRefusal(tokens, signed(claims(), alg, RSA.privateKey))).toBe(
        'the token must be signed with RS256; its alg is another',
      );
    expect(await expectRefusal(tokensOf(), signed(claims(), 'HS384'))).toMatch(/HS256; its alg/);
    expect(await expectRefusal(tokensOf(), signed(claims(), 'HS256', Buffer.alloc(32)))).toMatch(
      /not signed with the key/,
    );
  });

  it('with a key that the token itself brings are refused', async () => {
    const jwk = EC.publicKey.export({ format: 'jwk' });
    const header = {
      alg: 'ES256',
      jwk,
      jku: 'https://evil.example/keys',
      x5u: 'https://evil.example',
    };
    const token = byHand(header, JSON.stringify(claims()), (text) =>
      sign('sha256', Buffer.from(text), { key: EC.privateKey, dsaEncoding: 'ieee-p1363' }),
    );
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await expectRefusal(tokensOf({ jwtPublicKey: pem(other.publicKey) }), token);
  });

  it('that ask for what is not understood (crit) are refused', async () => {
    const header = { alg: 'HS256', crit: ['exp2'], exp2: 1 };
    await expectRefusal(tokensOf(), byHand(header, JSON.stringify(claims()), hs256(SECRET)));
  });
});

describe('text', () => {
  it.each(['', 'a', 'a.b.c', 'e30.e30.e30', '..', 'a.b', 'a.b.c.d.e', '\u0000.b.c'])(
    '%j is no token',
    async (text) => void (await expectRefusal(tokensOf(), text)),
  );

  it('that is no JSON object is no token, and neither is what is too long', async () => {
    for (const payload of ['', '[]', '7', 'null', '{', '"x"'])
      await expectRefusal(tokensOf(), byHand({ alg: 'HS256' }, payload, hs256(SECRET)));
    expect(await expectRefusal(tokensOf(), signed(claims({ pad: 'x'.repeat(8_000) })))).toMatch(
      /^the token has \d+ characters; allowed: 8192$/,
    );
  });

  it('of a refusal has nothing of the token', async () => {
    const told = await expectRefusal(
      tokensOf(),
      signed(claims({ aud: 'hush', holdline: ['hush'] })),
    );
    expect(told).not.toContain('hush');
  });

  it('looks like a token or not', () => {
    expect(['a.b.c', 'a.b.', 'eyJ.eyJ.x-_'].map((text) => Tokens.isToken(text))).toEqual([
      true,
      true,
      true,
    ]);
    expect(
      ['a.b', 'a.b.c.d', 'a..c', 'a.b.c=', ''].map((text) => Tokens.isToken(text)),
    ).not.toContain(true);
  });
});

describe('the public key', () => {
  const refused = (jwtPublicKey: string): unknown => {
    try {
      return Tokens.of(settings({ jwtPublicKey }));
    } catch (error) {
      return error;
    }
  };

  it.each([
    [
      'a short RSA key',
      pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey),
      /of 1024 bits; it must have at least 2048/,
    ],
    [
      'another curve',
      pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey),
      /on the curve secp256k1; it must be P-256/,
    ],
    [
      'another type',
      pem(generateKeyPairSync('x25519').publicKey),
      /of the type x25519; it must be RSA/,
    ],
    ['no key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', /cannot be read/],
    [
      'a private key',
      EC.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      /is a private key; only its public key/,
    ],
  ])('is refused in words when it is %s', (_, text, words) => {
    const error = refused(text);
    expect(error).toMatchObject({ code: 'HOLDLINE_BAD_OPTION' });
    expect((error as Error).message).toMatch(words);
  });

  it('may be in PKCS#1', async () => {
    const jwtPublicKey = RSA.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
    expect(createPrivateKey(RSA.privateKey.export({ type: 'pkcs8', format: 'pem' })).type).toBe(
      'private',
    );
    const token = await signed(claims(), 'RS256', RSA.privateKey);
    expect((await tokensOf({ jwtPublicKey }).verify(token)).user).toBe('ann');
  });
});

test('without a key no token is accepted', () => {
  expect(Tokens.of(settings({}))).toBeUndefined();
});

test('settings that are the same keep what is there, with the keys that it has fetched', () => {
  const before = Tokens.of(settings({ jwtSecret: SECRET }))!;
  const again = (more: Partial<TokenSettings>): Tokens | undefined =>
    Tokens.of(settings({ jwtSecret: SECRET, ...more }), Date.now, undefined, before);
  expect(again({})).toBe(before);
  expect(again({ jwtSecret: `${SECRET}2` })).not.toBe(before);
  expect(again({ jwtAudience: 'events' })).not.toBe(before);
  expect(again({ jwtSecret: undefined })).toBeUndefined();
});
