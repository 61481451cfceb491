/**
 * Tokens: JSON Web Tokens (RFC 7519, as RFC 8725 recommends) whose claim `holdline` gives rights by
 * pattern: `{ subscribe, publish, delete, watch, user? }`, each a list. A list that is left out
 * gives no right; other members are left alone (RFC 7519, 4).
 */
import type { JWTPayload, JWTVerifyOptions } from 'jose';
// Of jose only what is used: all of it takes a tenth of a server's start.
import * as errors from 'jose/errors';
import { jwtVerify } from 'jose/jwt/verify';
import { HoldlineError } from '../errors.js';
import {
  CLOCK_TOLERANCE_MS,
  PATTERNS_PER_ACTION_MAX,
  TOKEN_CHARS_MAX,
  USER_CHARS_MAX,
} from '../limits.js';
import { BadCredential } from './bad-credential.js';
import { digest } from './digest.js';
import type { JwksEvents } from './jwks.js';
import { compilePattern, type ChannelPattern } from './pattern.js';
import { ACTIONS, isUserName, makeRights, type Grants, type Rights } from './rights.js';
import { tokenKey, type TokenKey, type TokenKeySettings } from './token-key.js';

/** The settings that tokens take. */
export interface TokenSettings extends TokenKeySettings {
  readonly jwtAudience: string | undefined;
  readonly jwtIssuer: string | undefined;
  /** The longest time from `iat` to `exp`: revocations are kept for as long. */
  readonly jwtMaxLifetimeMs: number;
}

/** The names of {@link TokenSettings}. */
const SETTINGS = [
  'jwtSecret',
  'jwtPublicKey',
  'jwtJwks',
  'jwtAudience',
  'jwtIssuer',
  'jwtMaxLifetimeMs',
] as const satisfies readonly (keyof TokenSettings)[];

const NO_EVENTS: JwksEvents = { fetched: () => undefined, failed: () => undefined };

export class Tokens {
  readonly #settings: TokenSettings;
  readonly #key: TokenKey;
  readonly #options: JWTVerifyOptions;
  readonly #maxLifetimeSeconds: number;
  readonly #nowMs: () => number;

  private constructor(key: TokenKey, settings: TokenSettings, nowMs: () => number) {
    const { jwtAudience, jwtIssuer, jwtMaxLifetimeMs } = settings;
    this.#settings = settings;
    this.#key = key;
    this.#options = {
      algorithms: [...key.algorithms],
      requiredClaims: ['exp', 'iat'],
      clockTolerance: CLOCK_TOLERANCE_MS / 1000,
      ...(jwtAudience === undefined ? {} : { audience: jwtAudience }),
      ...(jwtIssuer === undefined ? {} : { issuer: jwtIssuer }),
    };
    this.#maxLifetimeSeconds = jwtMaxLifetimeMs / 1000;
    this.#nowMs = nowMs;
  }

  /**
   * Undefined where no token is accepted. `before` is returned if its settings are the same, with
   * the keys that it has fetched. Throws HOLDLINE_BAD_OPTION for a key that is none.
   */
  static of(
    settings: TokenSettings,
    nowMs: () => number = Date.now,
    events: JwksEvents = NO_EVENTS,
    before?: Tokens,
  ): Tokens | undefined {
    if (before !== undefined && SETTINGS.every((one) => before.#settings[one] === settings[one]))
      return before;
    const key = tokenKey(settings, events);
    return key === undefined ? undefined : new Tokens(key, settings, nowMs);
  }

  /** True for text in the form of a token (RFC 7515, 7.1), right or wrong. */
  static isToken(text: string): boolean {
    return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
  }

  /**
   * The rights of a token. Rejects with a {@link BadCredential} for one that is wrong or expired,
   * with HOLDLINE_TOKEN_KEYS_UNAVAILABLE if its key is unknown and cannot be fetched now.
   */
  async verify(token: string): Promise<Rights> {
    if (token.length > TOKEN_CHARS_MAX)
      throw refused(`has ${token.length} characters; allowed: ${TOKEN_CHARS_MAX}`);
    const nowMs = this.#nowMs();
    let payload: JWTPayload;
    try {
      const options = { ...this.#options, currentDate: new Date(nowMs) };
      ({ payload } = await jwtVerify(token, this.#key.keyOf, options));
    } catch (error) {
      if (error instanceof HoldlineError) throw error;
      throw refused(this.#problemOf(error), error instanceof errors.JWTExpired);
    }
    // jose has checked that both are numbers.
    const { exp, iat } = payload as { readonly exp: number; readonly iat: number };
    // It would be later than a revocation that it is held against.
    if (iat * 1000 > nowMs + CLOCK_TOLERANCE_MS) throw refused('was issued in the future (iat)');
    if (!(exp - iat <= this.#maxLifetimeSeconds)) {
      throw refused(
        `is valid for more than ${this.#maxLifetimeSeconds} s from iat to exp (--jwt-max-lifetime)`,
      );
    }
    const { grants, user } = readClaims(payload);
    return makeRights({
      user,
      // Tokens without a user share nothing with each other.
      credential: `jwt:${user ?? `#${digest(token).toString('hex', 0, 8)}`}`,
      grants,
      issuedAtMs: Math.floor(iat * 1000),
      // When it is no longer accepted, so that no line is ended that could come right back.
      expiresAtMs: Math.ceil(exp * 1000) + CLOCK_TOLERANCE_MS,
    });
  }

  /** What is wrong, in words without anything that the token says. */
  #problemOf(error: unknown): string {
    if (error instanceof errors.JWTExpired) return 'has expired (exp)';
    if (error instanceof errors.JWTClaimValidationFailed) {
      if (error.reason === 'missing') return `has no ${error.claim}, which is needed`;
      if (error.claim === 'nbf' && error.reason === 'check_failed') return 'is not valid yet (nbf)';
      return error.claim === 'aud' || error.claim === 'iss'
        ? `is not for this server: its ${error.claim} is another (--jwt-audience, --jwt-issuer)`
        : `has a claim ${error.claim} that cannot be read`;
    }
    if (error instanceof errors.JOSEAlgNotAllowed)
      return `must be signed with ${this.#key.algorithms.join(', ')}; its alg is another`;
    if (error instanceof errors.JWSSignatureVerificationFailed)
      return 'is not signed with the key of this server';
    if (error instanceof errors.JWKSNoMatchingKey)
      return 'is signed with a key that is not among those of the issuer (kid)';
    if (error instanceof errors.JWKSMultipleMatchingKeys)
      return 'must say with which of several keys it is signed (kid)';
    return 'is no JSON Web Token that can be read';
  }
}

/** The rights in the claims. Throws a {@link BadCredential} for those in another form. */
function readClaims(payload: JWTPayload): {
  readonly grants: Grants;
  readonly user: string | undefined;
} {
  const claim: unknown = payload['holdline'] ?? {};
  if (typeof claim !== 'object' || claim === null || Array.isArray(claim))
    throw refused('has a claim holdline that is no object');
  const members = claim as Readonly<Record<string, unknown>>;
  const grants = Object.fromEntries(
    ACTIONS.filter((action) => members[action] !== undefined).map((action) => [
      action,
      readPatterns(action, members[action]),
    ]),
  );
  const user = members['user'] ?? payload.sub;
  if (user !== undefined && !isUserName(user)) {
    const name = members['user'] === undefined ? 'sub' : 'holdline.user';
    throw refused(
      `has a ${name} that is no user: 1 to ${USER_CHARS_MAX} characters that can be shown`,
    );
  }
  return { grants, user };
}

function readPatterns(action: string, given: unknown): readonly ChannelPattern[] {
  if (!Array.isArray(given) || given.length > PATTERNS_PER_ACTION_MAX)
    throw refused(`has a holdline.${action} that is no list of up to ${PATTERNS_PER_ACTION_MAX}`);
  return given.map((text: unknown) => {
    const pattern = typeof text === 'string' ? compilePattern(text) : undefined;
    if (pattern === undefined)
      throw refused(`has something in holdline.${action} that is no channel or pattern`);
    return pattern;
  });
}

function refused(problem: string, isExpired = false): BadCredential {
  return new BadCredential(`the token ${problem}`, { isExpired });
}
