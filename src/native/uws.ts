/**
 * uWebSockets.js: it listens, writes, ends, and holds connections open. What rests on the behaviour
 * of the native code cites its note in native-notes/.
 */
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t } from 'uWebSockets.js';
import type { Counters } from '../counters.js';
import type { LinePort } from '../core/ports.js';
import { OPS_SOCKETS_MAX, SPARE_SOCKETS_MAX } from '../limits.js';
import { unsentStreamBytesMax } from './builds.js';
import type { CertificateFacts, CertificateFiles } from './certificate.js';
import { makeApp, openPort, openUnixSocket, type Door, type Made } from './door.js';
import { loadUws, type Uws } from './load.js';
import {
  behaviours,
  type MessageHandler,
  type MessageLine,
  type MessageOptions,
  type UpgradeContext,
} from './messages.js';
import { MuteSockets } from './mute-sockets.js';
import type { WantedSocketOptions } from './socket-options.js';
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

let unsentBytesMax: number | undefined;

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
  // write that was refused are unsent (and the rest of a frame that is larger than a write). A
  // large write shows at once. native-notes/true-means-backlog-flushed.md
  unsentBytes: () => (unsentBytesMax ??= unsentStreamBytesMax()),
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
  /** 0 on a unix socket. */
  readonly port: number;
  /** The port of operations; undefined where they have none of their own. */
  readonly opsPort: number | undefined;
  /** The build that serves, as npm names it. */
  readonly build: string;
  /**
   * True if the PROXY protocol header of a later request on a connection replaces the first one's.
   * native-notes/proxy-protocol.md
   */
  readonly replacesProxied: boolean;
  /** Bytes that the head of a request may have. */
  readonly headBytesMax: number;
  /** The socket options that were set. */
  readonly socketReport: SocketReport;
  /**
   * Serves another certificate from now on; connections that are open keep theirs. Rejects with
   * HOLDLINE_BAD_OPTION or HOLDLINE_LISTEN, and goes on with the one before, if that cannot be.
   */
  changeCertificate(files: CertificateFiles): Promise<CertificateFacts>;
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
  readonly maxHeaderBytes: number;
  /** Listens there in place of host and port. */
  readonly unixSocket: string | undefined;
  readonly unixSocketMode: number;
  /** True where other processes of this server listen on its ports, too. */
  readonly sharesPort?: boolean;
  /** Serves TLS; undefined for plain HTTP. */
  readonly certificate: CertificateFiles | undefined;
  /** The address of operations. */
  readonly ops: { readonly host: string; readonly port: number } | undefined;
}

type Handle = (response: HttpResponse, request: HttpRequest, context?: UpgradeContext) => void;

/** Who is told of what comes. */
export interface Receivers {
  /** Every request, in the turn in which it arrives. */
  readonly handle: Handle;
  /** Every request on the port of operations. */
  readonly handleOps: Handle;
  readonly messages: MessageHandler;
  /** Every socket that is accepted on the main port or socket. */
  readonly accepted: () => void;
}

/**
 * Listens. Rejects with HOLDLINE_NATIVE if no binary loads, HOLDLINE_BAD_OPTION for a certificate
 * that cannot be served, and HOLDLINE_LISTEN if an address or a path cannot be had.
 */
export async function listen(
  options: ListenOptions,
  counters: Counters,
  receivers: Receivers,
): Promise<Listener> {
  const { uws, build, headBytesMax } = await loadUws(options.maxHeaderBytes);
  const mute = await MuteSockets.load();
  const makeMain = (files: CertificateFiles | undefined): Made => {
    const app = makeApp(uws, files);
    const { accepted } = receivers;
    const sockets = addSockets(app, { options, counters, mute, accepted });
    addRoutes(app, uws, options, counters, receivers, sockets.closed);
    return { app, openSockets: sockets.open };
  };
  const makeOps = (): Made => {
    const app = uws.App();
    const openSockets = addOpsSockets(app, counters);
    return { app: app.any('/*', receivers.handleOps), openSockets };
  };
  const doors: Door[] = [];
  try {
    const main =
      options.unixSocket === undefined
        ? await openPort(uws, makeMain, options)
        : await openUnixSocket(uws, makeMain(undefined).app, {
            path: options.unixSocket,
            mode: options.unixSocketMode,
          });
    doors.push(main);
    mute.listensOn(main.port);
    const ops =
      options.ops === undefined
        ? undefined
        : await openPort(uws, makeOps, { ...options, ...options.ops, certificate: undefined });
    if (ops !== undefined) doors.push(ops);
    return {
      port: main.port,
      opsPort: ops?.port,
      build: build.name,
      replacesProxied: build.replacesProxied,
      headBytesMax,
      socketReport: main.socketReport,
      changeCertificate: (files) => main.changeCertificate(files),
      stopListening() {
        for (const door of doors) door.stopListening();
      },
      closeAll() {
        for (const door of doors) door.closeAll();
      },
    };
  } catch (error) {
    for (const door of doors) door.closeAll();
    throw error;
  }
}

/** What decides whether a socket is let in. */
interface SocketRules {
  readonly options: Pick<ListenOptions, 'maxConnections'>;
  readonly counters: Counters;
  readonly mute: MuteSockets;
  readonly accepted: () => void;
}

/** The sockets of one app. */
interface AppSockets {
  /** How many are open. */
  open(this: void): number;
  /** One has closed. */
  closed(this: void): void;
}

/**
 * Counts the sockets of lines and publishers, and refuses those above the bound, which is one for
 * all apps. The end of a WebSocket has to be told.
 */
function addSockets(
  app: TemplatedApp,
  { options, counters, mute, accepted }: SocketRules,
): AppSockets {
  let open = 0;
  const closed = (): void => {
    open--;
    counters.sockets_closed_total++;
  };
  const socketCap = options.maxConnections + SPARE_SOCKETS_MAX;
  const silentClosed = (): void => void counters.sockets_silent_closed_total++;
  // Called for every socket that is accepted or closes; to close it here refuses it.
  // native-notes/accept-filter.md
  app.filter((response, change) => {
    if ((change as number) < 0) {
      closed();
      return;
    }
    open++;
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
  return { open: () => open, closed };
}

/** The same for sockets of operations, which are counted apart: a full server answers them. */
function addOpsSockets(app: TemplatedApp, counters: Counters): () => number {
  let open = 0;
  app.filter((response, change) => {
    open += change as number;
    if ((change as number) < 0 || open <= OPS_SOCKETS_MAX) return;
    counters.sockets_refused_total++;
    response.close();
  });
  return () => open;
}

/** Gives an app its handlers. */
function addRoutes(
  app: TemplatedApp,
  uws: Uws,
  options: MessageOptions,
  counters: Counters,
  { handle, messages }: Receivers,
  socketClosed: () => void,
): void {
  app.any('/*', handle);
  // The patterns get every GET that has a key for a handshake, whatever else it asks for
  // (native-notes/upgrade-routing.md). The first, for one segment or several, only keep their
  // context, so that the last can upgrade to either behaviour. native-notes/websocket-behaviours.md
  const { readers, publishers } = behaviours(options, counters, messages, socketClosed);
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
}
