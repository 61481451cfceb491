/** Requests on connections of their own, for clients that give up and turn to another node. */
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';

/** How long a publisher and a poll wait for an answer before they turn to another node. */
const PATIENCE_MS = 3_000;
export interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One request on a connection of its own. Rejects when no whole answer came in time. */
export function ask(port: number, path: string, asked: Asked = {}): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = open(port, path, asked);
    const timer = setTimeout(() => sent.destroy(new Error('no answer in time')), PATIENCE_MS);
    const settled = (error: Error | undefined, answer?: Answered): void => {
      clearTimeout(timer);
      if (error === undefined && answer !== undefined) resolve(answer);
      else reject(error ?? new Error('cut off'));
    };
    sent.on('error', (error) => settled(error));
    sent.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('error', (error) => settled(error));
      response.on('close', () => {
        const { statusCode: status = 0, headers, complete } = response;
        settled(undefined, complete ? { status, headers, text } : undefined);
      });
    });
  });
}

export function open(
  port: number,
  path: string,
  { method = 'GET', headers, body }: Asked,
): ClientRequest {
  const options = { host: '127.0.0.1', port, path, method, agent: false, headers: { ...headers } };
  return httpRequest(options).end(body);
}
