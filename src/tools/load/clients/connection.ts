/** Connections to the server: where it is, and sockets that are read through one buffer. */

import { once } from 'node:events';
import { connect, Socket } from 'node:net';

/** Why a run did not come to figures; the message is for the user. */
export class RunFailure extends Error {}

/** Where the server is. */
export interface Target {
  /** An address and no name, so that nothing is looked up for each connection. */
  readonly address: string;
  readonly port: number;
  /** What stands in the Host header. */
  readonly authority: string;
  /** Path of the channel, with its slash and its query where there is one. */
  readonly path: string;
}

/**
 * One buffer for the process: a read is taken apart before the next one begins, so thousands of
 * connections need no buffer each.
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
   * Bytes have come. They are gone after the call. False = nothing more is read until `resume()` of
   * the socket.
   */
  bytes(buffer: Buffer, byteCount: number): boolean;
  closed(reason: string | undefined, socket: Socket): void;
}

/**
 * Opens a connection; `row` picks the source address where the server is on this machine. `buffer`
 * is what it is read through, and so the most that is read at once.
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
  // Node's documentation has the option, the types of the constructor have not.
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

/** Linux answers on all of 127.0.0.0/8; elsewhere there is one address, and its ports must do. */
function localAddress(address: string, row: number): string | undefined {
  if (process.platform !== 'linux' || !address.startsWith('127.')) return undefined;
  const nth = Math.floor(row / CONNECTIONS_PER_ADDRESS);
  return `127.0.${Math.floor(nth / 250)}.${1 + (nth % 250)}`;
}

/**
 * Where the URL's server is. A connection that is not used further tells whether anybody listens,
 * and at which of the host's addresses. Throws {@link RunFailure} when nobody does.
 */
export async function findTarget({ hostname, port, host, pathname, search }: URL): Promise<Target> {
  const portNumber = port === '' ? 80 : Number(port);
  const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: portNumber });
  try {
    await once(socket, 'connect');
    return {
      address: socket.remoteAddress!,
      port: portNumber,
      authority: host,
      path: pathname + search,
    };
  } catch (cause) {
    // Where several addresses were tried the first failure stands for all.
    const first = cause instanceof AggregateError ? (cause.errors[0] as Error) : (cause as Error);
    throw new RunFailure(`cannot connect to ${host}: ${first.message}`, { cause });
  } finally {
    socket.resetAndDestroy();
  }
}
