/**
 * Tokens of an issuer on a real server: read with keys behind a URL, through an outage of it, and
 * with a secret instead once the configuration is read again.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT, type CryptoKey, type JWTPayload } from 'jose';
import { expect, onTestFinished, test } from 'vitest';
import { serverForTest, type TestServer } from './support/server.js';
import { codeOf, request } from './support/wire.js';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const SECRET = 'a-secret-of-thirty-two-bytes-or-more';

const signed = (
  key: CryptoKey | KeyObject | Uint8Array,
  header: { alg: string; kid?: string },
  more: JWTPayload = {},
): Promise<string> =>
  new SignJWT({
    aud: 'events',
    iss: 'https://id',
    holdline: { subscribe: ['mine/**', 'c'] },
    ...more,
  })
    .setProtectedHeader(header)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(key);

/** Status, and the code of a refusal. */
async function read(server: TestServer, token: string, channel = 'c'): Promise<unknown[]> {
  const answer = await request(server.port, 'GET', `/${channel}?wait=0`, {
    headers: { accept: 'application/json', authorization: `Bearer ${token}` },
  });
  return answer.status < 400 ? [answer.status] : [answer.status, codeOf(answer)];
}

test('keys come from the URL of the issuer, go on without it, and are replaced on SIGHUP', async () => {
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'one' }];
  let isUp = true;
  const issuer = createServer((_, response) =>
    isUp ? response.end(JSON.stringify({ keys })) : response.writeHead(500).end(),
  );
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void issuer.close());
  const folder = mkdtempSync(join(tmpdir(), 'holdline-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'holdline.json');
  const given = { 'jwt-audience': 'events', 'jwt-issuer': 'https://id' };
  const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/keys`;
  writeFileSync(config, JSON.stringify({ ...given, 'jwt-jwks': url }));
  const server = await serverForTest({ config, host: '0.0.0.0' });

  const token = await signed(privateKey, { alg: 'ES256', kid: 'one' });
  expect(await read(server, token)).toEqual([204]);
  expect(await read(server, token, 'others')).toEqual([403, 'HOLDLINE_FORBIDDEN']);
  const foreign = await signed(privateKey, { alg: 'ES256', kid: 'one' }, { aud: 'others' });
  expect(await read(server, foreign)).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
  isUp = false;
  const unknown = await signed(privateKey, { alg: 'ES256', kid: 'two' });
  expect(await read(server, unknown)).toEqual([503, 'HOLDLINE_TOKEN_KEYS_UNAVAILABLE']);
  expect(await read(server, token)).toEqual([204]);
  const { counters } = await server.stats();
  expect(counters).toMatchObject({
    jwks_fetches_total: 1,
    refused: { HOLDLINE_TOKEN_KEYS_UNAVAILABLE: 1, HOLDLINE_UNAUTHORIZED: 1 },
  });

  // Reading the same again forgets no keys, even now.
  server.signal('SIGHUP');
  const reloads = (): number => server.logs.filter((log) => log['msg'] === 'reloaded').length;
  await server.waitFor('reloaded', () => reloads() === 1);
  expect(await read(server, token)).toEqual([204]);

  const bySecret = await signed(Buffer.from(SECRET), { alg: 'HS256' });
  expect(await read(server, bySecret)).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);
  writeFileSync(join(folder, 'secret'), `${SECRET}\n`);
  writeFileSync(config, JSON.stringify({ ...given, 'jwt-secret-file': join(folder, 'secret') }));
  server.signal('SIGHUP');
  await server.waitFor('reloaded again', () => reloads() === 2);
  expect(await read(server, bySecret)).toEqual([204]);
  expect(await read(server, token)).toEqual([401, 'HOLDLINE_UNAUTHORIZED']);

  // A key that cannot be used changes nothing, like an option that is wrong.
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  writeFileSync(join(folder, 'short.pem'), short.export({ type: 'spki', format: 'pem' }));
  writeFileSync(config, JSON.stringify({ 'jwt-public-key': join(folder, 'short.pem') }));
  server.signal('SIGHUP');
  await server.waitFor('the refusal', () =>
    server.logs.some((log) => /^not reloaded, .* of 1024 bits/.test(String(log['msg']))),
  );
  expect(await read(server, bySecret)).toEqual([204]);

  // Whoever opens it to all is told so, as at a start.
  writeFileSync(config, JSON.stringify({}));
  server.signal('SIGHUP');
  const everyone = /^everyone who reaches 0\.0\.0\.0 may read every channel/;
  await server.waitFor('the caution', () =>
    server.logs.some((log) => log['level'] === 40 && everyone.test(String(log['msg']))),
  );
  const logged = JSON.stringify(server.logs);
  for (const hidden of [SECRET, token, bySecret]) expect(logged).not.toContain(hidden);
});

test('a fetch that fails is counted, and logged with its reason', async () => {
  const server = await serverForTest({
    'jwt-jwks': 'http://127.0.0.1:1/keys',
    'jwt-audience': 'events',
    'jwt-issuer': 'https://id',
  });
  const token = await signed(privateKey, { alg: 'ES256', kid: 'one' });
  expect(await read(server, token)).toEqual([503, 'HOLDLINE_TOKEN_KEYS_UNAVAILABLE']);
  expect(await read(server, token)).toEqual([503, 'HOLDLINE_TOKEN_KEYS_UNAVAILABLE']);
  expect((await server.stats()).counters).toMatchObject({
    jwks_fetches_total: 0,
    jwks_failures_total: 1,
  });
  const words = /^the keys at http:\/\/127\.0\.0\.1:1\/keys cannot be fetched: /;
  await server.waitFor('the reason', () =>
    server.logs.some((log) => words.test(String(log['msg']))),
  );
});
