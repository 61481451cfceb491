/** One request through the proxy on a connection of its own, and its answer. */

import http from 'node:http';
import https from 'node:https';

/**
 * Sends a request on a connection of its own, so that nothing depends on the state of another. It
 * does not send `Connection: close`, which a proxy may obey.
 */
export function send(url: URL, options: http.RequestOptions): http.ClientRequest {
  const isSecure = url.protocol === 'https:';
  const agent = isSecure
    ? new https.Agent({ keepAlive: true })
    : new http.Agent({ keepAlive: true });
  const request = (isSecure ? https : http).request(url, { ...options, agent });
  return request.once('close', () => agent.destroy());
}

/** An answer to a request that is no stream. */
export interface Answer {
  readonly status: number;
  /** The header Holdline-Position; empty where it is missing. */
  readonly position: string;
  readonly text: string;
  /** True with a Content-Encoding; its text is then not decoded. */
  readonly isCoded: boolean;
  /** True with a Content-Length. */
  readonly hasLength: boolean;
  /** When it was complete, ms of `performance.now()`. */
  readonly atMs: number;
}

/** What is sent beside the URL. */
export interface Question {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Sends one request and returns its answer, or why there is none within `answerMs`. */
export function ask(
  url: URL,
  { method, headers, body = '' }: Question,
  answerMs: number,
): Promise<Answer | string> {
  const request = send(url, { method, headers });
  const giveUp = setTimeout(() => request.destroy(lateAnswer(answerMs)), answerMs);
  return new Promise<Answer | string>((resolve) => {
    request.on('error', (error) => resolve(error.message));
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => (text += piece));
      response.on('end', () => {
        const { headers: given } = response;
        resolve({
          status: response.statusCode!,
          position: String(given['holdline-position'] ?? ''),
          text,
          isCoded: given['content-encoding'] !== undefined,
          hasLength: given['content-length'] !== undefined,
          atMs: performance.now(),
        });
      });
      response.on('error', (error) => resolve(error.message));
    });
    request.end(body);
  }).finally(() => clearTimeout(giveUp));
}

/** The reason why a request was given up. */
export function lateAnswer(answerMs: number): Error {
  return new Error(`no answer within ${answerMs} ms`);
}
