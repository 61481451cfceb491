/**
 * uWebSockets.js: the only module that imports it as a value. Writes, ends, listens and holds
 * connections open; each line that rests on something the native code does cites its note in
 * native-notes/.
 */
import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
} from 'uWebSockets.js';
import type { Counters } from '../counters.js';
import type { LinePort } from '../core/ports.js';
import { HoldlineError } from '../errors.js';
import { CORK_WRITE_BYTES_MAX, REQUEST_HEAD_BYTES_MAX, SPARE_SOCKETS_MAX } from '../limits.js';
import {
  behaviours,
  type MessageHandler,
  type MessageLine,
  type MessageOptions,
  type UpgradeContext,
} from './messages.js';
import { MuteSockets } from './mute-sockets.js';
import {
  prepareSocketOptions,
  type SocketReport,
  type WantedSocketOptions,
} from './socket-options.js';

export type { HttpRequest, HttpResponse };

// Registers of the hoisted cork callbacks: `cork` hands its callback nothing, and a closure for
// each write would be garbage for each write. Set and read in one synchronous call.
// native-notes/cork-callback.md
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

/** Event streams and other responses without an end. */
export const streamPort: LinePort<HttpResponse> = {
  kind: 'stream',
  // One cork of at most CORK_WRITE_BYTES_MAX is one send(), an uncorked write four. True: what was
  // buffered before is out, and at most this write is not. native-notes/cork-size.md,
  // native-notes/uncorked-write-is-four-sends.md, native-notes/true-means-backlog-flushed.md
  write(response, bytes) {
    corkedResponse = response;
    corkedBytes = bytes;
    response.cork(writeCorked);
    return corkedTaken;
  },
  // No second argument: it would write a header into the chunk stream.
  // native-notes/end-of-stream.md
  end(response, lastBytes) {
    corkedResponse = response;
    corkedBytes = lastBytes;
    response.cork(endCorked);
  },
  // HTTP responses do not tell. A flush that failed shows one cork late: the cork that failed, and
  // the one that was refused (and of a frame larger than a cork the rest of it).
  // native-notes/true-means-backlog-flushed.md
  unsentBytes: () => 2 * CORK_WRITE_BYTES_MAX,
};

/** Told what happens to a held socket, by the handle that it has there. */
export interface Holder<Socket> {
  left(handle: number, socket: Socket): void;
  drained(handle: number, socket: Socket): void;
}

/**
 * Keeps a response open as a line. One function for both callbacks is the floor of what a line
 * costs in JavaScript (native-notes/memory-per-connection.md): `onAborted` calls it without an
 * argument, `onWritable` with a number (native-notes/one-closure-for-both.md). Without the latter a
 * stall that drained would end the line (native-notes/ten-second-timer.md). Bound, it is 30 bytes
 * less than a closure with its context.
 */
export function hold(response: HttpResponse, handle: number, holder: Holder<HttpResponse>): void {
  const callback = happened.bind(response, handle, holder);
  response.onAborted(callback);
  response.onWritable(callback);
}

function happened(
  this: HttpResponse,
  handle: number,
  holder: Holder<HttpResponse>,
  offset?: number,
): boolean {
  if (offset === undefined) {
    holder.left(handle, this);
  } else {
    // With a writable handler set uWebSockets leaves the draining to it; an empty cork flushes.
    // native-notes/drain-in-writable.md
    this.cork(nothing);
    holder.drained(handle, this);
  }
  return true;
}

/** A listening server of uWebSockets. */
export interface Listener {
  readonly port: number;
  /** What the kernel has been told of its sockets. */
  readonly socketReport: SocketReport;
  /**
   * Takes no more connections; those that are open stay, and another server may have the port.
   * native-notes/stop-listening.md
   */
  stopListening(): void;
  /**
   * Closes every socket at once, and tells of each within the call.
   * native-notes/abort-is-synchronous.md
   */
  closeAll(): void;
}

/** The module, with what its types leave out. */
type Uws = typeof import('uWebSockets.js') & { readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number };

/** Loads the binary for this Node and this machine. native-notes/which-build.md */
async function loadUws(): Promise<Uws> {
  // Read once, when the module loads. native-notes/header-limit.md
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(REQUEST_HEAD_BYTES_MAX);
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
 * Loads the module and does nothing with it. Rejects with HOLDLINE_NATIVE when no binary loads on
 * this machine.
 */
export async function tryNative(): Promise<void> {
  await loadUws();
}

export interface ListenOptions extends WantedSocketOptions, MessageOptions {
  readonly host: string;
  readonly port: number;
  readonly maxConnections: number;
}

/**
 * Listens, with every request going to `handle` in the turn it arrives. Rejects with
 * HOLDLINE_NATIVE when no binary loads and HOLDLINE_LISTEN when the address cannot be had.
 */
export async function listen(
  options: ListenOptions,
  counters: Counters,
  handle: (response: HttpResponse, request: HttpRequest, context?: UpgradeContext) => void,
  messages: MessageHandler,
): Promise<Listener> {
  const uws = await loadUws();
  const app = uws.App();
  const socketCap = options.maxConnections + SPARE_SOCKETS_MAX;
  const mute = await MuteSockets.load();
  const silentClosed = (): void => void counters.sockets_silent_closed_total++;
  // Sees every socket that is accepted or closes; closing it here refuses it.
  // native-notes/accept-filter.md
  app.filter((response, change) => {
    if ((change as number) < 0) {
      counters.sockets_closed_total++;
      return;
    }
    counters.sockets_opened_total++;
    if (
      counters.sockets_opened_total - counters.sockets_closed_total > socketCap &&
      !mute.takePlace(silentClosed)
    ) {
      counters.sockets_refused_total++;
      response.close();
    }
  });
  app.any('/*', handle);
  // Each sees every GET that carries a key for a handshake, whatever else it asks for
  // (native-notes/upgrade-routing.md): the first only leaves its context, with which the second can
  // upgrade to either behaviour. native-notes/websocket-behaviours.md
  const { readers, publishers } = behaviours(options, counters, messages);
  let publishing: us_socket_context_t | undefined;
  app.ws<MessageLine>('/:channels', {
    ...publishers,
    compression: uws.DISABLED,
    upgrade: (_response, request, context) => {
      publishing = context;
      request.setYield(true);
    },
  });
  app.ws<MessageLine>('/*', {
    ...readers,
    compression: uws.DISABLED,
    upgrade: (response, request, context) => {
      // A path of several segments passes by the first; nothing is found there, and nothing is
      // upgraded.
      handle(
        response,
        request,
        publishing === undefined ? undefined : { readers: context, publishers: publishing },
      );
    },
  });
  const setSocketOptions = await prepareSocketOptions(options, options.port);
  const socket = await listenOn(app, uws, options.host, options.port);
  const port = uws.us_socket_local_port(socket);
  mute.listensOn(port);
  const socketReport = setSocketOptions(port);
  let listening = true;
  return {
    port,
    socketReport,
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
  listen(
    host: string,
    port: number,
    options: number,
    callback: (socket: us_listen_socket | false) => void,
  ): TemplatedApp;
};

/**
 * Listens at the first address of the host; the answer comes within the call.
 * native-notes/listen-addresses.md
 */
function listenOn(
  app: TemplatedApp,
  uws: Uws,
  host: string,
  port: number,
): Promise<us_listen_socket> {
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
