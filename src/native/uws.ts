/**
 * uWebSockets.js: it listens, writes, ends, and holds connections open. What rests on the behaviour
 * of the native code cites its note in native-notes/.
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
import { CORK_WRITE_BYTES_MAX, SPARE_SOCKETS_MAX } from '../limits.js';
import { loadUws, type Uws } from './load.js';
import {
  behaviours,
  type MessageHandler,
  type MessageLine,
  type MessageOptions,
  type UpgradeContext,
} from './messages.js';
import { listenFailure } from './listen-failure.js';
import { MuteSockets } from './mute-sockets.js';
import { prepareSocketOptions, type WantedSocketOptions } from './socket-options.js';
import type { SocketReport } from './socket-report.js';

export type { HttpRequest, HttpResponse };

// Arguments and result of the two cork callbacks: `cork` passes its callback nothing, and a closure
// for each write would be garbage for each write. Set and read in one synchronous call.
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
  // A cork of at most CORK_WRITE_BYTES_MAX is one send(), an uncorked write is four. True: all that
  // was buffered before is out, and at most this write is not. native-notes/cork-size.md,
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
  // A response does not tell. A failed flush shows one cork late: then the cork that failed and the
  // one that was refused are unsent (and the rest of a frame that is larger than a cork).
  // native-notes/true-means-backlog-flushed.md
  unsentBytes: () => 2 * CORK_WRITE_BYTES_MAX,
};

/** Hears what happens to a held socket, by the handle that it has there. */
export interface Holder<Socket> {
  left(handle: number, socket: Socket): void;
  drained(handle: number, socket: Socket): void;
}

/**
 * Keeps a response open as a line. One function for both callbacks is the least that a line costs
 * in JavaScript (native-notes/memory-per-connection.md): `onAborted` calls it without an argument,
 * `onWritable` with a number (native-notes/one-closure-for-both.md). Without `onWritable` a line
 * that stalled and drained would be closed (native-notes/ten-second-timer.md). A bound function
 * takes 30 bytes less than a closure with its context.
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
    // With this handler set uWebSockets does not flush by itself; an empty cork flushes.
    // native-notes/drain-in-writable.md
    this.cork(nothing);
    holder.drained(handle, this);
  }
  return true;
}

/** A listening server of uWebSockets. */
export interface Listener {
  readonly port: number;
  /** The build that serves, as npm names it. */
  readonly build: string;
  /** The socket options that were set. */
  readonly socketReport: SocketReport;
  /**
   * Accepts no more connections. Those that are open stay, and another server may take the port.
   * native-notes/stop-listening.md
   */
  stopListening(): void;
  /**
   * Closes every socket; each one's holder hears of it within the call.
   * native-notes/abort-is-synchronous.md
   */
  closeAll(): void;
}

/** Loads the module only. Rejects with HOLDLINE_NATIVE if no binary loads on this machine. */
export async function tryNative(): Promise<void> {
  await loadUws();
}

export interface ListenOptions extends WantedSocketOptions, MessageOptions {
  readonly host: string;
  readonly port: number;
  readonly maxConnections: number;
}

/**
 * Listens. Every request goes to `handle` in the turn in which it arrives. Rejects with
 * HOLDLINE_NATIVE if no binary loads, and with HOLDLINE_LISTEN if the address cannot be had.
 * `accepted` is called for every socket that is accepted.
 */
export async function listen(
  options: ListenOptions,
  counters: Counters,
  handle: (response: HttpResponse, request: HttpRequest, context?: UpgradeContext) => void,
  messages: MessageHandler,
  accepted: () => void,
): Promise<Listener> {
  const { uws, build } = await loadUws();
  const app = uws.App();
  const socketCap = options.maxConnections + SPARE_SOCKETS_MAX;
  const mute = await MuteSockets.load();
  const silentClosed = (): void => void counters.sockets_silent_closed_total++;
  // Called for every socket that is accepted or closes; to close it here refuses it.
  // native-notes/accept-filter.md
  app.filter((response, change) => {
    if ((change as number) < 0) {
      counters.sockets_closed_total++;
      return;
    }
    counters.sockets_opened_total++;
    accepted();
    if (
      counters.sockets_opened_total - counters.sockets_closed_total > socketCap &&
      !mute.takePlace(silentClosed)
    ) {
      counters.sockets_refused_total++;
      response.close();
    }
  });
  app.any('/*', handle);
  // The patterns get every GET that has a key for a handshake, whatever else it asks for
  // (native-notes/upgrade-routing.md). The first, for one segment or several, only keep their
  // context, so that the last can upgrade to either behaviour. native-notes/websocket-behaviours.md
  const { readers, publishers } = behaviours(options, counters, messages);
  let publishing: us_socket_context_t | undefined;
  for (const pattern of ['/:channels', '/:channels/*']) {
    app.ws<MessageLine>(pattern, {
      ...publishers,
      compression: uws.DISABLED,
      upgrade: (_response, request, context) => {
        publishing = context;
        request.setYield(true);
      },
    });
  }
  app.ws<MessageLine>('/*', {
    ...readers,
    compression: uws.DISABLED,
    upgrade: (response, request, context) => {
      // A path that begins with an empty segment does not match the first ones. It names no
      // channels, so nothing is upgraded.
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
    build: build.name,
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

/** `listen` with host and options exists, but not in the types. */
type ListeningApp = TemplatedApp & {
  listen(
    host: string,
    port: number,
    options: number,
    callback: (socket: us_listen_socket | false) => void,
  ): TemplatedApp;
};

/**
 * Listens on the host's first address; the callback is called within the call.
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
      else void listenFailure(host, port).then(reject);
    };
    // Without this option two servers would silently share a port. native-notes/exclusive-port.md
    (app as ListeningApp).listen(host, port, uws.LIBUS_LISTEN_EXCLUSIVE_PORT, listening);
  });
}
