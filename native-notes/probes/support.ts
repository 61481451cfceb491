// What every probe shares: the result's shape, the runner, a port-0 app, a raw client that can stop
// reading.
import { spawn, spawnSync } from 'node:child_process';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
} from 'uWebSockets.js';
import { BUILDS, chooseBuild, thisHost } from '../../src/native/builds.js';
import { hasSendLog, makeSendLog, skipExitCode } from './send-log.js';

/** The version to probe where two builds fit; without it the one that the server takes. */
const asked = process.env['HOLDLINE_PROBE_BUILD'];
const choice =
  asked === undefined
    ? chooseBuild(thisHost())
    : (BUILDS.find(({ name }) => name.endsWith(`@${asked}`)) ?? {
        part: 'HOLDLINE_PROBE_BUILD',
        cause: `no build has version ${asked}`,
        fix: `use one of ${BUILDS.map(({ name }) => name).join(', ')}`,
      });
if (!('alias' in choice)) throw new Error(`${choice.cause}; ${choice.fix}`);

/** The build that is probed. */
export const build = choice;
/** What a script of its own imports it by. */
export const uwsPackage = build.alias;
/** What the builds differ in. */
export function byBuild<Value>(values: { '20.51.4': Value; '20.69.0': Value }): Value {
  return build.name.endsWith('20.51.4') ? values['20.51.4'] : values['20.69.0'];
}
export const uWS = (await import(uwsPackage)) as typeof import('uWebSockets.js');

export type { HttpRequest, HttpResponse, TemplatedApp, WebSocket };

export type Row = Record<string, string | number | boolean>;
export type ProbeResult = { claim: string; holds: boolean; rows: Row[] };

// ---------------------------------------------------------------- running

type MainOptions = {
  /**
   * The probe reads the log of send() calls: run it again under LD_PRELOAD. Linux and a C compiler
   * only.
   */
  sendLog?: boolean;
};

/** Thrown by a probe that cannot be run on this machine; the message is what it needs. */
export class NotHere extends Error {}

/**
 * Runs `probe` when its file is the program: prints the Markdown table, or with `--json` one line
 * of JSON.
 */
export async function main(
  url: string,
  probe: () => Promise<ProbeResult>,
  options: MainOptions = {},
): Promise<void> {
  if (process.argv[1] === undefined || fileURLToPath(url) !== process.argv[1]) return;
  const json = process.argv.includes('--json');
  if (options.sendLog === true && !hasSendLog()) process.exit(runWithSendLog());
  let result: ProbeResult;
  try {
    result = await probe();
  } catch (error) {
    if (!(error instanceof NotHere)) throw error;
    console.log(`skipped: needs ${error.message}`);
    process.exit(skipExitCode);
  }
  if (json) {
    console.log(JSON.stringify(result));
  } else {
    console.log(
      `${result.claim}\n\n${markdownTable(result.rows)}\n\nholds: ${String(result.holds)} (${describeBuild()})`,
    );
  }
  // Explicit: the open app would keep the process, and a closing one may abort it.
  process.exit(result.holds ? 0 : 1);
}

function runWithSendLog(): number {
  const log = makeSendLog();
  if (log === undefined) {
    console.log('skipped: needs Linux and a C compiler for the log of send() calls');
    return skipExitCode;
  }
  const run = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, ...log.environment },
  });
  log.remove();
  return run.status ?? 1;
}

export type ChildResult = {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
};

/**
 * Runs plain JavaScript in a process of its own, for facts that end a process or need a fresh one.
 * Without tsx, which is half a second.
 */
export async function runScript(
  source: string,
  environment: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<ChildResult> {
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', source], {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

export function describeBuild(): string {
  return `${build.name}, Node ${process.versions.node}, ${process.platform} ${process.arch}`;
}

function markdownTable(rows: Row[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  const body = rows.map((row) =>
    line(
      columns.map((column) =>
        row[column] === undefined ? '' : String(row[column]).replaceAll('|', '\\|'),
      ),
    ),
  );
  return [line(columns), line(columns.map(() => '---')), ...body].join('\n');
}

/**
 * The rows of a probe that asks several small questions: what was seen, and whether it was what the
 * note says.
 */
export class Findings {
  readonly rows: Row[] = [];
  holds = true;

  add(name: string, seen: string | number | boolean, wanted: string | number | boolean): void {
    const right = seen === wanted;
    this.rows.push({
      case: name,
      seen: right ? seen : `${String(seen)} (the note says: ${String(wanted)})`,
    });
    this.holds &&= right;
  }
}

// ---------------------------------------------------------------- waiting

/**
 * Resolves when `condition` is true; throws with `what` after `limitMs`. No probe waits for time
 * alone if a condition exists.
 */
export async function until(
  condition: () => boolean,
  what: string,
  limitMs = 15_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${String(limitMs)} ms for: ${what}`);
    await turn();
  }
}

/** One turn of the loop, idle for a millisecond so that the kernel and other processes get on. */
export async function turn(ms = 1): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

// ---------------------------------------------------------------- server

export type Listening = { app: TemplatedApp; port: number; socket: us_listen_socket };

export async function listen(app: TemplatedApp, port = 0, options = 0): Promise<Listening> {
  return new Promise((resolve, reject) => {
    app.listen(port, options, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on port ${String(port)}`));
      else resolve({ app, port: uWS.us_socket_local_port(socket), socket });
    });
  });
}

/** `listen` with host and options, and the option itself, exist and are not in the types. */
type Untyped = {
  listen(
    host: string,
    port: number,
    options: number,
    callback: (socket: us_listen_socket | false) => void,
  ): void;
  LIBUS_LISTEN_EXCLUSIVE_PORT: number;
};

/**
 * Listens as src/ does, on a host and with the port for itself; undefined if the answer did not
 * come inside the call.
 */
export function listenAlone(
  app: TemplatedApp,
  host: string,
  port: number,
): us_listen_socket | false | undefined {
  const answers: (us_listen_socket | false)[] = [];
  const { LIBUS_LISTEN_EXCLUSIVE_PORT: exclusive } = uWS as unknown as Untyped;
  (app as unknown as Untyped).listen(host, port, exclusive, (socket) => void answers.push(socket));
  return answers[0];
}

/**
 * A stream that is held: one byte of it has been written, and has come unless its client is paused.
 */
export async function heldStream(
  options: ConstructorParameters<typeof RawClient>[1] = {},
): Promise<Listening & { client: RawClient; res: HttpResponse }> {
  let res: HttpResponse | undefined;
  const listening = await listen(
    uWS.App().get('/*', (response) => {
      res = response;
      response.onAborted(() => {});
      response.write('x');
    }),
  );
  const client = new RawClient(listening.port, options).get('/');
  await until(
    () => res !== undefined && (options.paused === true || client.receivedBytes > 0),
    'the prelude',
  );
  return { ...listening, client, res: res as unknown as HttpResponse };
}

/** Bytes that one chunked `write(length)` puts on the wire: CRLF, hex size, CRLF, data. */
export function chunkWireBytes(length: number): number {
  return length + 4 + length.toString(16).length;
}

// ---------------------------------------------------------------- client

/**
 * A raw TCP client that really stops reading: no stream buffer between the kernel and `received`.
 */
export class RawClient {
  readonly socket: Socket;
  receivedBytes = 0;
  closed = false;
  ended = false;
  error = '';
  #chunks: Buffer[] = [];
  readonly #keep: boolean;
  #once = false;

  constructor(
    port: number,
    options: { keep?: boolean; paused?: boolean; readBytes?: number; localAddress?: string } = {},
  ) {
    this.#keep = options.keep ?? true;
    const buffer = Buffer.allocUnsafeSlow(options.readBytes ?? 65536);
    const take = (length: number): boolean => {
      this.receivedBytes += length;
      if (this.#keep) this.#chunks.push(Buffer.from(buffer.subarray(0, length)));
      if (!this.#once) return true;
      this.#once = false;
      this.socket.pause();
      return false;
    };
    this.socket = new Socket({
      onread: { buffer, callback: (length: number): boolean => take(length) },
    } as object);
    this.socket.on('end', () => (this.ended = true));
    this.socket.on('close', () => (this.closed = true));
    this.socket.on(
      'error',
      (error: NodeJS.ErrnoException) => (this.error = error.code ?? error.message),
    );
    if (options.paused === true) this.socket.pause();
    this.socket.connect({
      port,
      host: '127.0.0.1',
      ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
    });
    this.socket.setNoDelay(true);
  }

  send(text: string | Buffer): this {
    this.socket.write(text);
    return this;
  }

  get(path: string, headers = ''): this {
    return this.send(`GET ${path} HTTP/1.1\r\nHost: probe\r\n${headers}\r\n`);
  }

  pause(): this {
    this.socket.pause();
    return this;
  }

  resume(): this {
    this.socket.resume();
    return this;
  }

  /** One read of at most `readBytes`, then the client stands still again. */
  readOnce(): this {
    this.#once = true;
    return this.resume();
  }

  bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  text(): string {
    return this.bytes().toString('latin1');
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export type Chunked = {
  head: string;
  body: Buffer;
  chunkCount: number;
  finished: boolean;
  trailing: number;
  corruptAt: number;
};

/**
 * Decodes a chunked response strictly. `corruptAt` is the offset of the first byte that breaks the
 * framing, or -1.
 */
export function decodeChunked(bytes: Buffer): Chunked {
  const headEnd = bytes.indexOf('\r\n\r\n');
  const empty = {
    head: '',
    body: Buffer.alloc(0),
    chunkCount: 0,
    finished: false,
    trailing: 0,
    corruptAt: -1,
  };
  if (headEnd < 0) return empty;
  const head = bytes.toString('latin1', 0, headEnd);
  const parts: Buffer[] = [];
  let at = headEnd + 4;
  const done = (finished: boolean, corruptAt: number): Chunked => {
    return {
      head,
      body: Buffer.concat(parts),
      chunkCount: parts.length,
      finished,
      trailing: finished ? bytes.length - at : 0,
      corruptAt,
    };
  };
  // The CRLF that ends a chunk comes with the next one, so a chunk's data may be the last thing
  // there is.
  for (;;) {
    const sizeEnd = bytes.indexOf('\r\n', at);
    if (sizeEnd < 0)
      return done(
        false,
        /^[0-9a-f]{0,8}\r?$/.test(bytes.toString('latin1', at, at + 10)) ? -1 : at,
      );
    const digits = bytes.toString('latin1', at, sizeEnd);
    if (!/^[0-9a-f]{1,8}$/.test(digits)) return done(false, at);
    const size = Number.parseInt(digits, 16);
    const dataStart = sizeEnd + 2;
    if (size === 0) {
      at = dataStart + 2;
      return done(bytes.length >= at, -1);
    }
    parts.push(bytes.subarray(dataStart, dataStart + size));
    const after = dataStart + size;
    if (bytes.length < after + 2) return done(false, -1);
    if (bytes[after] !== 13 || bytes[after + 1] !== 10) return done(false, after);
    at = after + 2;
  }
}

// ---------------------------------------------------------------- WebSocket

/** What a browser sends beside the request line and Host, with the key of RFC 6455, section 1.3. */
export const upgradeHeaders =
  'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';

/** Upgrades as any handler may that has nothing to look at. */
export function upgrade(
  response: HttpResponse,
  request: HttpRequest,
  context: us_socket_context_t,
  data: object,
): void {
  response.upgrade(data, request.getHeader('sec-websocket-key'), '', '', context);
}

/**
 * A client's frame (RFC 6455, section 5.2). `first` is its first byte: FIN, reserved bits, opcode
 * (0x81 a text, 0x82 binary, 0x88 close, 0x89 ping). `declaredBytes` lets the header tell another
 * length than the payload has.
 */
export function clientFrame(
  first: number,
  payload: Buffer | string,
  declaredBytes?: number,
): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const key = Buffer.from([1, 2, 3, 4]);
  const head = frameHead(first, declaredBytes ?? bytes.length);
  head[1] = 0x80 | (head[1] ?? 0);
  return Buffer.concat([head, key, bytes.map((byte, at) => byte ^ (key[at & 3] ?? 0))]);
}

/** A frame as the server sends it, not masked. */
export function serverFrame(first: number, payload: Buffer): Buffer {
  return Buffer.concat([frameHead(first, payload.length), payload]);
}

function frameHead(first: number, length: number): Buffer {
  if (length < 126) return Buffer.from([first, length]);
  if (length < 65536) return Buffer.from([first, 126, length >> 8, length & 255]);
  const head = Buffer.from([first, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(length, 6);
  return head;
}

/** What the client has received behind the head of the 101. */
export function afterHead(client: RawClient): Buffer {
  const bytes = client.bytes();
  const end = bytes.indexOf('\r\n\r\n');
  return end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 4);
}

/**
 * The server's frames in words: `text "a"`, `pong "b"`, `close 1000 "bye"`, `close`. Long payloads
 * are told by their length.
 */
export function describeFrames(bytes: Buffer): string {
  const words: string[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const first = bytes[at] ?? 0;
    const short = (bytes[at + 1] ?? 0) & 127;
    const headBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
    const length =
      short === 127
        ? bytes.readUInt32BE(at + 6)
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : short;
    const payload = bytes.subarray(at + headBytes, at + headBytes + length);
    const text = length > 20 ? `${String(length)} B` : JSON.stringify(payload.toString('latin1'));
    const reason =
      length > 22 ? `${String(length - 2)} B` : JSON.stringify(payload.toString('latin1', 2));
    const close =
      payload.length < 2 ? 'close' : `close ${String(payload.readUInt16BE(0))} ${reason}`;
    words.push(
      {
        0x81: `text ${text}`,
        0x82: `binary ${text}`,
        0x88: close,
        0x89: `ping ${text}`,
        0x8a: `pong ${text}`,
      }[first] ?? `0x${first.toString(16)}`,
    );
    at += headBytes + length;
  }
  return words.join(', ');
}
