/** Tokens: JSON Web Tokens (RFC 7519) whose claim `holdline` gives rights by pattern. */
import type { Rights } from './rights.js';

/** The settings that tokens take. */
export interface TokenSettings {
  readonly jwtSecret: string | undefined;
  /** PEM. */
  readonly jwtPublicKey: string | undefined;
  /** URL. */
  readonly jwtJwks: string | undefined;
  readonly jwtAudience: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtMaxLifetimeMs: number;
}

export class Tokens {
  /** Undefined where no token is accepted. Throws HOLDLINE_BAD_OPTION for a key that is none. */
  static of(settings: TokenSettings, nowMs: () => number = Date.now): Tokens | undefined {
    void settings;
    void nowMs;
    return undefined;
  }

  /** True for text in the form of a token (JWS Compact Serialization), right or wrong. */
  static isToken(text: string): boolean {
    return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(text);
  }

  /**
   * The rights of a token. Rejects with HOLDLINE_UNAUTHORIZED for one that is wrong or expired, with
   * HOLDLINE_TOKEN_KEYS_UNAVAILABLE if its key cannot be fetched now.
   */
  verify(token: string): Promise<Rights> {
    return Promise.reject(new Error(token));
  }
}
