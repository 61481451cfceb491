/** Keys behind a JWKS URL: fetched, kept, rotated, and what happens while they cannot be had. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT, type JWTPayload } from 'jose';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { Jwks } from '../src/auth/jwks.js';
import { Tokens } from '../src/auth/tokens.js';
import { JWKS_AGE_MS_MAX, JWKS_COOLDOWN_MS } from '../src/limits.js';

const pair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const [OLD, NEW, OTHER] = [pair(), pair(), pair()];
const jwk = (kid: string, key: KeyObject, more: object = {}) => ({
  ...key.export({ format: 'jwk' }),
  kid,
  ...more,
});

const signed = (kid: string | undefined, key: KeyObject, payload: JWTPayload = {}, alg = 'ES256') =>
  new SignJWT({ aud: 'events', iss: 'https://id', sub: 'ann', ...payload })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(key);

/** The clock of the keys: tests move it, nothing waits. */
let nowMs = 0;
beforeEach(() => {
  nowMs = 1_000_000;
});

/** An issuer with a JWKS, and a server that takes its tokens. */
class Issuer {
  keys: unknown[] = [jwk('old', OLD.publicKey)];
  requests = 0;
  fetched = 0;
  readonly failures: string[] = [];
  answer: RequestListener = (_, response) => response.end(JSON.stringify({ keys: this.keys }));
  readonly tokens: Tokens;
  readonly #server;

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    onTestFinished(() => void vi.restoreAllMocks());
    this.tokens = Tokens.of(
      {
        jwtSecret: undefined,
        jwtPublicKey: undefined,
        jwtJwks: `http://127.0.0.1:${port}/keys?tenant=7`,
        jwtAudience: 'events',
        jwtIssuer: 'https://id',
        jwtMaxLifetimeMs: 86_400_000,
      },
      Date.now,
      { fetched: () => this.fetched++, failed: (words) => this.failures.push(words) },
    )!;
  }

  static async start(): Promise<Issuer> {
    const server = createServer((request, response) => {
      issuer.requests++;
      expect(request.url).toBe('/keys?tenant=7');
      issuer.answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = new Issuer(server);
    onTestFinished(() => issuer.stop());
    return issuer;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** `ok` or the code of the refusal. */
  async ask(kid: string | undefined, key: KeyObject, payload: JWTPayload = {}): Promise<string> {
    const token = await signed(kid, key, payload);
    return this.tokens.verify(token).then(
      () => 'ok',
      (error: unknown) => (error as { code: string }).code,
    );
  }
}

const UNAUTHORIZED = 'HOLDLINE_UNAUTHORIZED';
const UNAVAILABLE = 'HOLDLINE_TOKEN_KEYS_UNAVAILABLE';

test('keys are fetched once for many tokens', async () => {
  const issuer = await Issuer.start();
  const all = Array.from({ length: 20 }, () => issuer.ask('old', OLD.privateKey));
  expect(new Set(await Promise.all(all))).toEqual(new Set(['ok']));
  expect(await issuer.ask(undefined, OLD.privateKey)).toBe('ok');
  expect([issuer.requests, issuer.fetched]).toEqual([1, 1]);
});

test('a key that is rotated in is fetched for the first token with it, one rotated out is refused', async () => {
  const issuer = await Issuer.start();
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  issuer.keys = [jwk('new', NEW.publicKey)];
  nowMs += JWKS_COOLDOWN_MS;
  expect(await issuer.ask('new', NEW.privateKey)).toBe('ok');
  expect(issuer.requests).toBe(2);
  nowMs += JWKS_COOLDOWN_MS;
  expect(await issuer.ask('old', OLD.privateKey)).toBe(UNAUTHORIZED);
});

test('a key that was rotated out counts no longer than the age of the keys', async () => {
  const issuer = await Issuer.start();
  await issuer.ask('old', OLD.privateKey);
  issuer.keys = [jwk('new', NEW.publicKey)];
  nowMs += JWKS_AGE_MS_MAX - 1;
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  nowMs += 1;
  expect(await issuer.ask('old', OLD.privateKey)).not.toBe('ok');
});

test('a key that is not among those just fetched is refused for good', async () => {
  const issuer = await Issuer.start();
  expect(await issuer.ask('new', NEW.privateKey)).toBe(UNAUTHORIZED);
  expect(issuer.requests).toBe(1);
});

test('keys that nobody knows fetch once in the cooldown; then they may come back', async () => {
  const issuer = await Issuer.start();
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  for (let i = 0; i < 5; i++) expect(await issuer.ask(`x${i}`, OTHER.privateKey)).toBe(UNAVAILABLE);
  expect(issuer.requests).toBe(1);
  nowMs += JWKS_COOLDOWN_MS;
  expect(await issuer.ask('x', OTHER.privateKey)).toBe(UNAUTHORIZED);
  expect(issuer.requests).toBe(2);
});

test('the key of another is refused whatever its name', async () => {
  const issuer = await Issuer.start();
  expect(await issuer.ask('old', OTHER.privateKey)).toBe(UNAUTHORIZED);
  expect(await issuer.ask('old', OLD.privateKey, { aud: 'others' })).toBe(UNAUTHORIZED);
});

test('a secret among the keys, and one that is not for signatures, is not used', async () => {
  const issuer = await Issuer.start();
  const secret = Buffer.alloc(32, 7);
  issuer.keys = [
    { kty: 'oct', kid: 'oct', k: secret.toString('base64url') },
    jwk('enc', NEW.publicKey, { use: 'enc' }),
  ];
  const token = await new SignJWT({ aud: 'events', iss: 'https://id' })
    .setProtectedHeader({ alg: 'HS256', kid: 'oct' })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(secret);
  await expect(issuer.tokens.verify(token)).rejects.toThrow(/its alg is another/);
  expect(await issuer.ask('enc', NEW.privateKey)).toBe(UNAUTHORIZED);
});

test('a token must name its key where there are several', async () => {
  const issuer = await Issuer.start();
  issuer.keys = [jwk('old', OLD.publicKey), jwk('new', NEW.publicKey)];
  expect(await issuer.ask(undefined, NEW.privateKey)).toBe(UNAUTHORIZED);
  expect(await issuer.ask('new', NEW.privateKey)).toBe('ok');
});

test('while the URL fails, known keys go on, unknown ones are told to come back, and it recovers', async () => {
  const issuer = await Issuer.start();
  const right = issuer.answer;
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  issuer.answer = (_, response) => response.writeHead(500).end();
  nowMs += JWKS_AGE_MS_MAX;
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  expect(await issuer.ask('new', NEW.privateKey)).toBe(UNAVAILABLE);
  expect(issuer.requests).toBe(2);
  expect(issuer.failures).toEqual([expect.stringMatching(/cannot be fetched: the status is 500$/)]);
  nowMs += JWKS_COOLDOWN_MS;
  issuer.answer = right;
  issuer.keys.push(jwk('new', NEW.publicKey));
  expect(await issuer.ask('new', NEW.privateKey)).toBe('ok');
});

test('a URL that hangs does not hold tokens whose key is known', async () => {
  const issuer = await Issuer.start();
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  issuer.answer = (_, response) => response.writeHead(500).end();
  nowMs += JWKS_AGE_MS_MAX;
  await issuer.ask('old', OLD.privateKey);
  issuer.answer = () => {};
  nowMs += JWKS_COOLDOWN_MS;
  expect(await issuer.ask('old', OLD.privateKey)).toBe('ok');
  await expect.poll(() => issuer.requests).toBe(3);
});

test.each<[string, (issuer: Issuer) => RequestListener, RegExp]>([
  ['no JSON', () => (_, response) => response.end('<html>'), /JSON/],
  ['no keys', () => (_, response) => response.end('{}'), /no array "keys"/],
  ['null', () => (_, response) => response.end('null'), /./],
  ['keys that are no objects', () => (_, response) => response.end('{"keys":[7]}'), /malformed/],
  [
    'too many keys',
    () => (_, response) =>
      response.end(JSON.stringify({ keys: Array(65).fill(jwk('a', OLD.publicKey)) })),
    /has 65 keys; at most 64/,
  ],
  [
    'too many bytes',
    () => (_, response) => response.end(JSON.stringify({ keys: [], pad: 'x'.repeat(300_000) })),
    /more than 262144 bytes/,
  ],
  [
    'a redirect',
    () => (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    /redirect/,
  ],
  ['a reset', () => (request) => request.socket.destroy(), /fetch failed \(.+\)/],
])('an answer with %s is refused and reported', async (_, answer, words) => {
  const issuer = await Issuer.start();
  issuer.answer = answer(issuer);
  expect(await issuer.ask('old', OLD.privateKey)).toBe(UNAVAILABLE);
  expect(issuer.failures).toEqual([expect.stringMatching(words)]);
  expect(issuer.fetched).toBe(0);
});

test('where nobody listens, a token is told to come back', async () => {
  const issuer = await Issuer.start();
  issuer.stop();
  expect(await issuer.ask('old', OLD.privateKey)).toBe(UNAVAILABLE);
  const failed = vi.fn<(words: string) => void>();
  const jwks = new Jwks('http://127.0.0.1:1/', { fetched: () => {}, failed }, () => nowMs);
  await expect(jwks.keyOf({ alg: 'ES256' }, { payload: '', signature: '' })).rejects.toMatchObject({
    code: UNAVAILABLE,
  });
  expect(failed).toHaveBeenCalledTimes(1);
});
