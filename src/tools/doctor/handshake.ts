/** A WebSocket through the proxy: its handshake, and whether a message comes behind it. */

import { randomBytes } from 'node:crypto';
import { lateAnswer, send } from './ask.js';

/** Characters that are kept of an answer that is no upgrade. */
const KEPT_CHARACTERS_MAX = 4 * 1024;

/** What became of a handshake. */
export interface Handshake {
  /** The status of the answer, 101 when the socket was opened; null where there was no answer. */
  readonly status: number | null;
  /** Content-Type of an answer that is no upgrade; empty where it has none. */
  readonly contentType: string;
  /** The body of such an answer where it has an end, or why there was no answer. */
  readonly words: string;
  /** From the upgrade to the first bytes behind it, ms; null where none came. */
  readonly firstAfterMs: number | null;
}

/** What to ask. */
export interface HandshakeOptions {
  /** The URL of a channel. */
  readonly url: URL;
  /** Headers of whoever reads. */
  readonly reader: Readonly<Record<string, string>>;
  readonly answerMs: number;
  /** True if the newest event of the channel is there to be sent. */
  readonly waitsForMessage: boolean;
}

/**
 * Opens a WebSocket as a page of the URL's origin does, with its Origin (RFC 6455, 10.2). It is to
 * get the channel's newest event, and is closed.
 */
export function shakeHands({
  url,
  reader,
  answerMs,
  waitsForMessage,
}: HandshakeOptions): Promise<Handshake> {
  const asked = new URL(url);
  asked.searchParams.set('last', '1');
  const headers = {
    ...reader,
    Origin: url.origin,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  const request = send(asked, { headers });
  const giveUp = setTimeout(() => request.destroy(lateAnswer(answerMs)), answerMs);
  return new Promise<Handshake>((resolve) => {
    const finish = (seen: Partial<Handshake>): void =>
      resolve({ status: null, contentType: '', words: '', firstAfterMs: null, ...seen });
    request.on('error', (error) => finish({ words: error.message }));
    request.on('upgrade', (_response, socket, head) => {
      clearTimeout(giveUp);
      const openedMs = performance.now();
      const opened = (firstAfterMs: number | null): void => {
        clearTimeout(quiet);
        socket.destroy();
        finish({ status: 101, firstAfterMs });
      };
      const quiet = setTimeout(() => opened(null), waitsForMessage ? answerMs : 0);
      socket.on('error', () => opened(null)).on('close', () => opened(null));
      if (head.length > 0) opened(0);
      else socket.once('data', () => opened(performance.now() - openedMs));
    });
    request.on('response', (response) => {
      const contentType = response.headers['content-type'] ?? '';
      let words = '';
      const answered = (): void => finish({ status: response.statusCode!, contentType, words });
      // A stream has no end, and what it says does not matter here.
      if (contentType.startsWith('text/event-stream')) return answered();
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        words = (words + text).slice(0, KEPT_CHARACTERS_MAX);
      });
      response.on('end', answered).on('error', answered);
    });
    request.end();
  }).finally(() => {
    clearTimeout(giveUp);
    request.destroy();
  });
}
