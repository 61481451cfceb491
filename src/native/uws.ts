/**
 * uWebSockets.js: the only module that imports it as a value. Writes, ends, listens and holds connections open; each line that
 * rests on something the native code does cites its note in native-notes/.
 */
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import type { Counters } from '../counters.js';
import type { SocketPort } from '../core/pump.js';
import { HoldlineError } from '../errors.js';
import { REQUEST_HEAD_BYTES, SPARE_SOCKETS } from '../limits.js';

export type { HttpRequest, HttpResponse };

// Registers of the hoisted cork callbacks: `cork` hands its callback nothing, and a closure for each write would be garbage for
// each write. Set and read in one synchronous call.
let corkedResponse: HttpResponse;
let corkedBytes: Uint8Array;
let corkedTaken: boolean;

function writeCorked(): void {
  corkedTaken = corkedResponse.write(corkedBytes);
}

function endCorked(): void {
  corkedResponse.end(corkedBytes);
}

function nothing(): void {}

/** The core's way to sockets. */
export const uwsPort: SocketPort<HttpResponse> = {
  // One cork of at most CORK_WRITE_BYTES is one send(). True: what was buffered before is out, and at most this write is not.
  // native-notes/cork-size.md, native-notes/true-means-backlog-flushed.md
  write(response, bytes) {
    corkedResponse = response;
    corkedBytes = bytes;
    response.cork(writeCorked);
    return corkedTaken;
  },
  // No second argument: it would write a header into the chunk stream. native-notes/end-of-stream.md
  end(response, lastBytes) {
    corkedResponse = response;
    corkedBytes = lastBytes;
    response.cork(endCorked);
  },
};

/** What happens to a held response. The handle is whatever {@link hold}'s `open` returned. */
export interface Holder {
  left(handle: number, response: HttpResponse): void;
  drained(handle: number, response: HttpResponse): void;
}

/**
 * Keeps a response open as a line. One closure for both callbacks is the floor of what a line costs in JavaScript
 * (about 100 bytes; native-notes/memory-per-connection.md): `onAborted` calls it without an argument, `onWritable` with a number.
 */
export function hold(response: HttpResponse, handle: number, holder: Holder): void {
  const callback = makeCallback(response, handle, holder);
  response.onAborted(callback);
  response.onWritable(callback);
}

function makeCallback(response: HttpResponse, handle: number, holder: Holder) {
  // Anonymous: a named one costs 200 bytes more under some compilers.
  return (offset?: number): boolean => {
    if (offset === undefined) {
      holder.left(handle, response);
    } else {
      // With a writable handler set uWebSockets leaves the draining to it; an empty cork flushes. native-notes/drain-in-writable.md
      response.cork(nothing);
      holder.drained(handle, response);
    }
    return true;
  };
}

/** A listening server of uWebSockets. */
export interface Listener {
  readonly port: number;
  /** Takes no more connections; those that are open stay. */
  stopListening(): void;
  /** Closes every socket at once. */
  closeAll(): void;
}

/** The module, with what its types leave out. */
type Uws = typeof import('uWebSockets.js') & { readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number };

async function loadUws(): Promise<Uws> {
  // Read once, when the module loads. native-notes/header-limit.md
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(REQUEST_HEAD_BYTES);
  try {
    return (await import('uWebSockets.js')) as unknown as Uws;
  } catch (cause) {
    throw new HoldlineError(
      'HOLDLINE_NATIVE',
      `no uWebSockets.js binary loads under Node ${process.versions.node} (${process.platform} ${process.arch}). ` +
        'The build in package.json is for Node 20, 22 and 23 with glibc 2.27 or newer (Debian 10, Ubuntu 18.04 and later), macOS and Windows; ' +
        'there is none for musl (Alpine). If Node was changed after npm install, run npm install again. ' +
        `Cause: ${cause instanceof Error ? cause.message.split('\n').at(-1) : String(cause)}`,
      { cause },
    );
  }
}

/**
 * Listens, with every request going to `handle` in the turn it arrives. Rejects with HOLDLINE_NATIVE when no binary loads and
 * HOLDLINE_LISTEN when the address cannot be had.
 */
export async function listen(
  host: string,
  port: number,
  maxConnections: number,
  counters: Counters,
  handle: (response: HttpResponse, request: HttpRequest) => void,
): Promise<Listener> {
  const uws = await loadUws();
  const app = uws.App();
  const socketCap = maxConnections + SPARE_SOCKETS;
  // Sees every socket that is accepted or closes; closing it here refuses it. native-notes/accept-filter.md
  app.filter((response, change) => {
    if ((change as number) < 0) {
      counters.sockets_closed_total++;
      return;
    }
    counters.sockets_opened_total++;
    if (counters.sockets_opened_total - counters.sockets_closed_total > socketCap) {
      counters.sockets_refused_total++;
      response.close();
    }
  });
  app.any('/*', handle);
  const socket = await listenOn(app, uws, host, port);
  let listening = true;
  return {
    port: uws.us_socket_local_port(socket),
    stopListening() {
      if (listening) uws.us_listen_socket_close(socket);
      listening = false;
    },
    closeAll() {
      listening = false;
      app.close();
    },
  };
}

/** `listen` with host and options exists and is not in the types. */
type ListeningApp = TemplatedApp & {
  listen(host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void): TemplatedApp;
};

function listenOn(app: TemplatedApp, uws: Uws, host: string, port: number): Promise<us_listen_socket> {
  return new Promise((resolve, reject) => {
    const listening = (socket: us_listen_socket | false): void => {
      if (socket !== false) resolve(socket);
      else {
        const message = `cannot listen on ${host} port ${port}: the port is taken, not allowed, or the address is not of this machine; give another --port or --host`;
        reject(new HoldlineError('HOLDLINE_LISTEN', message));
      }
    };
    // Without the option two servers share a port in silence. native-notes/exclusive-port.md
    (app as ListeningApp).listen(host, port, uws.LIBUS_LISTEN_EXCLUSIVE_PORT, listening);
  });
}
