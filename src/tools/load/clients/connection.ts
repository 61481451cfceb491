/** Connections to the server: where it is, and sockets that are read through one buffer. */

import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { LOAD_CONNECT_MS_MAX } from '../../../limits.js';

/** Why a run has no figures; the message is for the user. */
export class RunFailure extends Error {}

/** Where the server is. */
export interface Target {
  /** An address, so that no name is resolved for each connection. */
  readonly address: string;
  readonly port: number;
  /** The value of the Host header. */
  readonly authority: string;
  /** Path of the channel, with its slash and its query where there is one. */
  readonly path: string;
  /** The key or token that clients show; undefined for a server that is open to read. */
  readonly key?: string | undefined;
}

/** The header field that shows a key or a token, with its line break; empty without one. */
export function authorizationField(key: string | undefined): string {
  return key === undefined ? '' : `Authorization: Bearer ${key}\r\n`;
}

/**
 * One buffer for the process: a read is parsed before the next one begins, so that thousands of
 * connections need no buffer of their own.
 */
const READ_BUFFER_BYTES = 256 * 1024;
const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES);

/**
 * An address has 28,232 ephemeral ports, of which a bind() tries a quarter first: from about 7,000
 * connections an address on, the kernel's search for a free one takes longer than everything else
 * in a connect.
 */
const CONNECTIONS_PER_ADDRESS = 1_000;

/**
 * What happens on a connection. `closed` is called once, last; `reason` is set when it was an
 * error. None of them may throw.
 */
export interface ConnectionSink {
  opened(): void;
  /**
   * Bytes have come; they are valid during the call. False = nothing more is read until `resume()`
   * of the socket.
   */
  bytes(buffer: Buffer, byteCount: number): boolean;
  closed(reason: string | undefined, socket: Socket): void;
}

/**
 * Opens a connection; `row` picks the source address where the server is on this machine. The size
 * of `buffer` is the most that is read at once.
 */
export function openConnection(
  { address, port }: Target,
  row: number,
  sink: ConnectionSink,
  buffer: Buffer = readBuffer,
): Socket {
  let reason: string | undefined;
  const onread = {
    buffer,
    callback: (byteCount: number): boolean => sink.bytes(buffer, byteCount),
  };
  // Node documents the option; the types of the constructor lack it.
  const socket = new Socket({ onread } as object);
  socket.setNoDelay(true);
  socket.on('error', (error) => (reason ??= error.message));
  socket.on('close', () => sink.closed(reason, socket));
  const local = localAddress(address, row);
  socket.connect(
    { port, host: address, ...(local === undefined ? {} : { localAddress: local }) },
    () => sink.opened(),
  );
  return socket;
}

/** Linux answers on all of 127.0.0.0/8; elsewhere all connections share one address. */
function localAddress(address: string, row: number): string | undefined {
  if (process.platform !== 'linux' || !address.startsWith('127.')) return undefined;
  const nth = Math.floor(row / CONNECTIONS_PER_ADDRESS);
  return `127.0.${Math.floor(nth / 250)}.${1 + (nth % 250)}`;
}

/** Why a connection was not made, in words where the system has only a code. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ECONNREFUSED') return 'no server listens there (ECONNREFUSED)';
  if (code === 'ENOTFOUND') return 'there is no host of that name (ENOTFOUND)';
  return message;
}

/**
 * Where the URL's server is: a connection that is dropped again finds out whether it listens, and
 * at which of the host's addresses. Throws {@link RunFailure} when it does not, or is aborted.
 */
export async function findTarget(
  { hostname, port, host, pathname, search }: URL,
  signal?: AbortSignal,
): Promise<Target> {
  const portNumber = port === '' ? 80 : Number(port);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: portNumber });
  const timer = setTimeout(
    () => socket.destroy(new Error(`no answer in ${LOAD_CONNECT_MS_MAX / 1000} s`)),
    LOAD_CONNECT_MS_MAX,
  );
  try {
    await once(socket, 'connect', signal === undefined ? {} : { signal });
    return {
      address: socket.remoteAddress!,
      port: portNumber,
      authority: host,
      path: pathname + search,
    };
  } catch (cause) {
    // A reset would wait for the connect.
    socket.destroy();
    if (signal?.aborted === true)
      throw new RunFailure('stopped before a client had connected', { cause });
    // Where several addresses were tried, the first failure is reported.
    const first = cause instanceof AggregateError ? (cause.errors[0] as Error) : (cause as Error);
    throw new RunFailure(`cannot connect to ${host}: ${reasonOf(first)}`, { cause });
  } finally {
    clearTimeout(timer);
    socket.resetAndDestroy();
  }
}
