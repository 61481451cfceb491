/**
 * What a page on the proxy's own origin would be told. The server compares the Origin of a page
 * with the Host that arrives, so a proxy that changes Host makes its own pages foreign.
 */

import { ask } from './ask.js';
import { bearerOf } from '../keys.js';

/** How the server takes a page of the origin that clients see. */
export interface OwnOrigin {
  /** Scheme, name and port of the URL, as a browser sends them. */
  readonly origin: string;
  readonly isAccepted: boolean;
  /**
   * The Host that arrives, where it is the name of the URL with another port or without one; null
   * where it was kept, or is none of those.
   */
  readonly changedHost: string | null;
}

/** What to ask. */
export interface OwnOriginOptions {
  /** The URL of a channel. */
  readonly url: URL;
  readonly publishKey: string | undefined;
  readonly answerMs: number;
}

/**
 * Asks for a publish that is always refused, because of its type: whether the origin was the reason
 * is in the refusal, and no event is published. Null where the answer is not from Holdline.
 */
export async function probeOwnOrigin(options: OwnOriginOptions): Promise<OwnOrigin | null> {
  const { origin, protocol, hostname, host } = options.url;
  const isAccepted = await isOriginAccepted(origin, options);
  if (isAccepted === null) return null;
  if (isAccepted) return { origin, isAccepted, changedHost: null };
  // An Origin is compared without its scheme, so that with a made-up port it fits a made-up Host.
  for (const changed of [hostname, `${hostname}:80`, `${hostname}:443`]) {
    if (changed === host) continue;
    if (await isOriginAccepted(`${protocol}//${changed}`, options))
      return { origin, isAccepted, changedHost: changed };
  }
  return { origin, isAccepted, changedHost: null };
}

async function isOriginAccepted(
  origin: string,
  { url, publishKey, answerMs }: OwnOriginOptions,
): Promise<boolean | null> {
  const asked = new URL(url);
  asked.searchParams.set('event', 'gap');
  const headers = { Origin: origin, 'Content-Type': 'text/plain', ...bearerOf(publishKey) };
  const answer = await ask(asked, { method: 'POST', headers, body: 'x' }, answerMs);
  const code = typeof answer === 'string' ? undefined : /HOLDLINE_\w+/.exec(answer.text)?.[0];
  return code === undefined ? null : code !== 'HOLDLINE_CROSS_SITE';
}
