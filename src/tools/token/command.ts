/** `holdline token`: prints a signed token. */

import process from 'node:process';
import { SignJWT } from 'jose';
import { ACTIONS } from '../../auth/rights.js';
import { HoldlineError } from '../../errors.js';
import type { Surroundings } from '../../options/command-line.js';
import { complain } from '../../terminal.js';
import { parseTokenOptions, type TokenSettings } from './options.js';

/** Runs the command and returns its exit code. Throws HOLDLINE_BAD_OPTION. */
export async function runToken(
  args: readonly string[],
  surroundings: Pick<Surroundings, 'env' | 'readFile'>,
): Promise<number> {
  const { values, warnings } = parseTokenOptions(args, surroundings);
  for (const warning of warnings) complain(`warning: ${warning}`);
  process.stdout.write(`${await signed(values)}\n`);
  return 0;
}

/** The token. Throws HOLDLINE_BAD_OPTION without a secret or a right. */
export function signed(settings: TokenSettings): Promise<string> {
  const { jwtSecret, user, expiresInMs, jwtAudience, jwtIssuer } = settings;
  if (jwtSecret === undefined)
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      'a token needs the secret of the server: give --jwt-secret-file FILE',
    );
  const given = ACTIONS.filter((action) => settings[action].length > 0);
  if (given.length === 0)
    throw new HoldlineError(
      'HOLDLINE_BAD_OPTION',
      `a token needs a right: give --${ACTIONS.join(', --')} with a channel or a pattern`,
    );
  const holdline = Object.fromEntries(given.map((action) => [action, settings[action]]));
  const issuedAtSeconds = Math.floor(Date.now() / 1000);
  const token = new SignJWT({ holdline })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuedAt(issuedAtSeconds)
    .setExpirationTime(issuedAtSeconds + Math.ceil(expiresInMs / 1000));
  if (user !== undefined) token.setSubject(user);
  if (jwtAudience !== undefined) token.setAudience(jwtAudience);
  if (jwtIssuer !== undefined) token.setIssuer(jwtIssuer);
  return token.sign(new TextEncoder().encode(jwtSecret));
}
