/**
 * What becomes of compression on a path: whether the server compresses, and what the path makes of
 * it.
 */

import { ask } from './ask.js';
import { ProbeStream, type Coding } from './probe-stream.js';

/** What was seen of compression; null is what could not be seen, or was not asked. */
export interface CompressionSeen {
  /** The stream through the proxy. */
  readonly coding: Coding | null;
  /** The same at the server itself: its coding, or why there is none. Null without `--direct`. */
  readonly direct: { readonly coding: Coding | null; readonly refusal: string } | null;
  /**
   * Whether a plain answer to a poll, which the server would compress, has the length that the
   * server gave it: then it was not decompressed on the path. Asked only where the server
   * compresses and the path's stream is plain.
   */
  readonly pollHasLength: boolean | null;
  /**
   * Whether a stream that takes no coding has an event in time, and one that takes gzip, opened
   * beside it, has not. Asked only where the first stream was held back.
   */
  readonly plainArrives: boolean | null;
}

/** Data of an event whose poll is worth compressing: the server does so from 512 bytes. */
export const POLLED_DATA_BYTES = 2_048;

/** What a stream at the server itself is coded with; `reader` is the headers of whoever reads. */
export async function probeDirect(
  url: URL,
  reader: Readonly<Record<string, string>>,
  answerMs: number,
): Promise<NonNullable<CompressionSeen['direct']>> {
  const stream = new ProbeStream(url, reader, '');
  await stream.waitFor(() => stream.coding !== undefined || stream.end !== undefined, answerMs);
  const { head, coding, end } = stream;
  stream.close();
  if (head?.status === 200 && coding !== undefined) return { coding, refusal: '' };
  const refusal =
    head === undefined
      ? (end?.how ?? `no answer within ${answerMs} ms`)
      : head.status === 200
        ? 'nothing of the stream arrived'
        : `answered ${head.status}`;
  return { coding: null, refusal };
}

/** Polls what follows a position with gzip taken: see {@link CompressionSeen.pollHasLength}. */
export async function probePollLength(
  channel: URL,
  reader: Readonly<Record<string, string>>,
  since: number,
  answerMs: number,
): Promise<boolean | null> {
  const url = new URL(channel);
  url.search = `?since=${since}&wait=0`;
  const headers = { ...reader, Accept: 'application/json', 'Accept-Encoding': 'gzip' };
  const answer = await ask(url, { method: 'GET', headers }, answerMs);
  if (typeof answer === 'string' || answer.status !== 200) return null;
  if (answer.isCoded || answer.text.length < POLLED_DATA_BYTES) return null;
  return answer.hasLength;
}
