/** The transports of the demo page's lines: an event stream, a WebSocket, and polls. */
import { CHANNEL, Line, parseJson, refusalOf, type Envelope, type Watcher } from './demo-lines.js';

const POLL_LIMIT = 100;

/** Bytes of the status line and the headers that a page sees. */
function headBytes({ status, statusText, headers }: Response): number {
  let bytes = `HTTP/1.1 ${status} ${statusText}\r\n\r\n`.length;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  return bytes;
}

/** Does what EventSource does, which does not show its bytes. */
export class StreamLine extends Line {
  protected async ask(signal: AbortSignal): Promise<never> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.position !== undefined) headers['Last-Event-ID'] = String(this.position);
    this.note(
      [
        `→ GET ${CHANNEL}`,
        ...Object.entries(headers).map((header) => `→ ${header.join(': ')}`),
        '',
      ].join('\n'),
    );
    const response = await fetch(CHANNEL, { headers, signal, cache: 'no-store' });
    this.note(
      `← ${response.status} ${response.headers.get('Content-Type') ?? response.statusText}\n`,
    );
    if (response.status !== 200 || response.body === null)
      throw new Error(await refusalOf(response));
    this.came('', headBytes(response));
    this.opened();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    // Replay comes with the first bytes; the rest of a long one has ids that other lines had.
    let isReplay = this.position !== undefined;
    let rest = '';
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const text = decoder.decode(read.value, { stream: true });
      this.came(text, read.value.length);
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) this.#takeBlock(block, isReplay);
      isReplay = false;
    }
    throw new Error('the stream ended');
  }

  /** One block of an event stream as Holdline writes it: with LF, and a space after the colon. */
  #takeBlock(block: string, isReplay: boolean): void {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
      fields.set(
        name,
        name === 'data' && fields.has(name) ? `${fields.get(name)}\n${value}` : value,
      );
    }
    if (fields.has('retry')) this.retryMs = Number(fields.get('retry')) || 100;
    const [id, event, data] = [fields.get('id'), fields.get('event'), fields.get('data')];
    if (event === 'gap') this.take({ gap: parseJson(data!) as NonNullable<Envelope['gap']> });
    else if (event === 'end') this.take({ end: parseJson(data!) as NonNullable<Envelope['end']> });
    else if (id !== undefined && data === undefined) this.at(Number(id));
    else if (id !== undefined)
      this.take({ id: Number(id), ...(event !== undefined && { event }), data }, isReplay);
  }
}

export class SocketLine extends Line {
  protected ask(signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      const url = new URL(`${CHANNEL}?since=${this.position ?? 'latest'}`, location.href);
      this.note(`→ GET ${url.pathname}${url.search}\n→ Upgrade: websocket\n`);
      url.protocol = url.protocol.replace('http', 'ws');
      const socket = new WebSocket(url);
      const close = (): void => socket.close();
      signal.addEventListener('abort', close);
      socket.addEventListener('open', () => {
        this.note('← 101 Switching Protocols\n');
        this.opened();
      });
      socket.addEventListener('message', ({ data }: MessageEvent<string>) => {
        if (signal.aborted) return;
        const bytes = new TextEncoder().encode(data).length;
        this.came(data, bytes + (bytes < 126 ? 2 : 4));
        for (const line of data.split('\n'))
          if (line !== '') this.take(JSON.parse(line) as Envelope);
      });
      socket.addEventListener('close', ({ code }) => {
        signal.removeEventListener('abort', close);
        reject(new Error(`closed with code ${code}`));
      });
    });
  }
}

export class PollLine extends Line {
  readonly #waitS: number;
  readonly #everyMs: number;

  /** Asks with `wait=waitS`, and again `everyMs` after an answer. */
  constructor(watcher: Watcher, waitS: number, everyMs: number) {
    super(watcher);
    this.#waitS = waitS;
    this.#everyMs = everyMs;
  }

  protected async ask(signal: AbortSignal): Promise<number> {
    const since = this.position ?? 'latest';
    // After a loss only an answer shows that the server is back, so it does not wait for an event.
    const waitS = this.hasFailed ? 0 : this.#waitS;
    const path = `${CHANNEL}?since=${since}&wait=${waitS}&limit=${POLL_LIMIT}`;
    this.note(`→ GET ${path}\n`);
    // A waiting poll has no answer yet: it counts as open until it fails.
    if (!this.hasFailed) this.opened();
    const response = await fetch(path, {
      headers: { Accept: 'application/json' },
      signal,
      cache: 'no-store',
    });
    if (!response.ok) throw new Error(await refusalOf(response));
    const body = await response.arrayBuffer();
    this.opened();
    const text = new TextDecoder().decode(body);
    const position = response.headers.get('Holdline-Position');
    this.note(`← ${response.status} ${response.statusText}\n← Holdline-Position: ${position}\n`);
    this.came(text === '' ? '' : `${text}\n`, headBytes(response) + body.byteLength);
    this.tell((watcher) => watcher.answered(response.status === 204));
    if (text !== '') for (const object of JSON.parse(text) as Envelope[]) this.take(object);
    this.position = Number(position);
    return this.#everyMs;
  }
}
