/** The key that tokens are checked with, from the settings, and the algorithms that go with it. */
import { createPublicKey, webcrypto, type KeyObject } from 'node:crypto';
import type { JWTVerifyGetKey } from 'jose';
import { asError, HoldlineError } from '../errors.js';
import { Jwks, type JwksEvents } from './jwks.js';

/** The settings that say it; at most one is given. */
export interface TokenKeySettings {
  /** The characters are the bytes of the secret. */
  readonly jwtSecret: string | undefined;
  /** PEM: SubjectPublicKeyInfo, PKCS#1 or an X.509 certificate. */
  readonly jwtPublicKey: string | undefined;
  /** URL. */
  readonly jwtJwks: string | undefined;
}

/** A key, or where it is found by the header of a token. */
export interface TokenKey {
  readonly keyOf: JWTVerifyGetKey;
  /** The only values of `alg` that are accepted (RFC 8725, 3.1 and 3.2). */
  readonly algorithms: readonly string[];
}

/** EdDSA has two names (RFC 8037, 3.1, and RFC 9864, 2.2). */
const EDDSA = ['EdDSA', 'Ed25519'] as const;

/** Undefined where no token is accepted. Throws HOLDLINE_BAD_OPTION for a key that is none. */
export function tokenKey(
  { jwtSecret, jwtPublicKey, jwtJwks }: TokenKeySettings,
  events: JwksEvents,
): TokenKey | undefined {
  if (jwtSecret !== undefined) {
    // Imported once: three times as fast as a key that jose imports for each token.
    const key = webcrypto.subtle.importKey(
      'raw',
      Buffer.from(jwtSecret),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['verify'],
    );
    return { keyOf: () => key, algorithms: ['HS256'] };
  }
  if (jwtPublicKey !== undefined) {
    const key = readPublicKey(jwtPublicKey);
    return { keyOf: () => key, algorithms: algorithmsOf(key) };
  }
  if (jwtJwks !== undefined)
    return { keyOf: new Jwks(jwtJwks, events).keyOf, algorithms: ['RS256', 'ES256', ...EDDSA] };
  return undefined;
}

function readPublicKey(pem: string): KeyObject {
  // createPublicKey would take the public half of it, and the file would lie about with the rest.
  if (pem.includes('PRIVATE KEY-----'))
    throw badKey('is a private key; only its public key is needed here');
  try {
    return createPublicKey(pem);
  } catch (error) {
    throw badKey(`cannot be read (${asError(error).message})`);
  }
}

function algorithmsOf(key: KeyObject): readonly string[] {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const type = key.asymmetricKeyType;
  if (type === 'rsa') {
    if (modulusLength >= 2048) return ['RS256'];
    throw badKey(`is an RSA key of ${modulusLength} bits; it must have at least 2048`);
  }
  if (type === 'ec') {
    if (namedCurve === 'prime256v1') return ['ES256'];
    throw badKey(`is on the curve ${namedCurve}; it must be P-256`);
  }
  if (type === 'ed25519') return EDDSA;
  throw badKey(`is of the type ${type}; it must be RSA, EC P-256 or Ed25519`);
}

function badKey(problem: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_OPTION', `the key of --jwt-public-key ${problem}`);
}
