/** `holdline token`: what it prints is what a server with the same secret accepts. */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { describe, expect, it } from 'vitest';
import { Tokens } from '../src/auth/tokens.js';
import { runHoldline } from './support/server.js';

const SECRET = 'a secret of 32 characters or more';
const FILE = join(tmpdir(), `holdline-token-${process.pid}.secret`);
writeFileSync(FILE, `${SECRET.replaceAll(' ', '-')}\n`);

const accepting = (more: object = {}): Tokens =>
  Tokens.of({
    jwtSecret: SECRET.replaceAll(' ', '-'),
    jwtPublicKey: undefined,
    jwtJwks: undefined,
    jwtAudience: undefined,
    jwtIssuer: undefined,
    jwtMaxLifetimeMs: 24 * 3600 * 1000,
    ...more,
  })!;

function printed(...args: string[]): string {
  const { status, stdout, stderr } = runHoldline(['token', '--jwt-secret-file', FILE, ...args]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout.trim();
}

describe('holdline token', () => {
  it('prints a token with the rights, the user and the time that were asked for', async () => {
    const beganSeconds = Math.floor(Date.now() / 1000);
    const token = printed('--subscribe', 'users/ada,news/**', '--user=ada', '--expires', '5min');
    const rights = await accepting().verify(token);
    expect(rights.user).toBe('ada');
    expect(
      ['users/ada', 'news/today', 'users/bob'].map((channel) => rights.may('subscribe', channel)),
    ).toEqual([true, true, false]);
    expect(rights.may('publish', 'users/ada')).toBe(false);
    const { exp, iat } = decodeJwt(token);
    expect(exp! - iat!).toBe(300);
    expect(iat! - beganSeconds).toBeGreaterThanOrEqual(0);
    expect(iat! - beganSeconds).toBeLessThanOrEqual(15);
  });

  it('names audience and issuer', async () => {
    const token = printed('--publish=c', '--jwt-audience=events', '--jwt-issuer=login');
    await expect(
      accepting({ jwtAudience: 'events', jwtIssuer: 'login' }).verify(token),
    ).resolves.toMatchObject({ user: undefined });
    await expect(accepting({ jwtAudience: 'others' }).verify(token)).rejects.toThrow(
      /audience|aud/,
    );
  });

  it.each([
    [[], /needs the secret/],
    [['--jwt-secret-file', FILE], /needs a right/],
    [['--jwt-secret-file', FILE, '--subscribe', 'a//b'], /--subscribe .*a\/\/b/],
    [['--jwt-secret-file', `${FILE}.none`, '--subscribe', 'a'], /cannot be read/],
    [['--jwt-secret=short', '--subscribe', 'a'], /--jwt-secret must be/],
    [['--jwt-secret-file', FILE, '--subscribe', 'a', '--expires', '25h'], /--expires must be/],
  ])('refuses %j in a sentence', (args, problem) => {
    const { status, stdout, stderr } = runHoldline(['token', ...args]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(problem);
    expect(stderr).not.toContain('short');
  });
});
