/**
 * A door: an app of uWebSockets.js with the place where it listens, which is a port or a unix
 * socket. The certificate of a port can be changed: a second app then listens beside the first,
 * whose socket is closed and whose connections stay.
 */
import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import { HoldlineError } from '../errors.js';
import { SHARED_PORT_TRIES_MAX } from '../limits.js';
import {
  readCertificate,
  refusedCertificate,
  type CertificateFacts,
  type CheckedCertificate,
  type CertificateFiles,
} from './certificate.js';
import { freePort, listenFailure, portFailure } from './listen-failure.js';
import type { Uws } from './load.js';
import { prepareSocketOptions, type WantedSocketOptions } from './socket-options.js';
import type { SocketReport } from './socket-report.js';
import { freeSocketPath, ownSocketFile, socketPathFailure } from './unix-socket.js';

export interface Door {
  /** 0 on a unix socket. */
  readonly port: number;
  readonly socketReport: SocketReport;
  /** Undefined for plain HTTP. */
  readonly certificate: CertificateFacts | undefined;
  /** As {@link Listener.changeCertificate} in native/uws.ts. */
  changeCertificate(files: CertificateFiles): Promise<CertificateFacts>;
  stopListening(): void;
  closeAll(): void;
}

/** Where a port is, and what its sockets get. */
export interface PortOptions extends WantedSocketOptions {
  readonly host: string;
  readonly port: number;
  readonly certificate: CertificateFiles | undefined;
  /** True where other processes of this server listen on the port, too. */
  readonly sharesPort?: boolean;
}

/** An app with its handlers, and how many sockets it has open. */
export interface Made {
  readonly app: TemplatedApp;
  readonly openSockets: () => number;
}

type MakeApp = (certificate: CertificateFiles | undefined) => Made;

/** An app for plain HTTP, or for TLS. Throws HOLDLINE_BAD_OPTION for a certificate it refuses. */
export function makeApp(uws: Uws, certificate: CertificateFiles | undefined): TemplatedApp {
  if (certificate === undefined) return uws.App();
  try {
    return uws.SSLApp({
      cert_file_name: certificate.tlsCert,
      key_file_name: certificate.tlsKey,
    });
  } catch (cause) {
    // It says nothing but "App construction failed". native-notes/tls.md
    throw refusedCertificate(certificate, cause);
  }
}

/** Listens on a port. Rejects with HOLDLINE_LISTEN or HOLDLINE_BAD_OPTION. */
export async function openPort(uws: Uws, make: MakeApp, options: PortOptions): Promise<Door> {
  const facts = options.certificate && readCertificate(options.certificate);
  const made = make(options.certificate);
  // Another listener joins later only if both share the port.
  const isShared = facts !== undefined;
  const setSocketOptions = await prepareSocketOptions(options, options.port);
  let socket: us_listen_socket;
  if (options.sharesPort === true) socket = await listenBeside(made.app, options);
  else if (isShared) socket = await listenShared(made.app, options);
  else socket = await listenAlone(made.app, uws, options);
  const port = uws.us_socket_local_port(socket);
  return new PortDoor({
    uws,
    make,
    options: { ...options, port },
    listening: { ...made, socket },
    socketReport: setSocketOptions(port),
    certificate: facts,
  });
}

/** An app and its listening socket. */
interface Listening extends Made {
  readonly socket: us_listen_socket;
}

interface PortDoorParts {
  readonly uws: Uws;
  readonly make: MakeApp;
  readonly options: PortOptions;
  readonly listening: Listening;
  readonly socketReport: SocketReport;
  readonly certificate: CheckedCertificate | undefined;
}

class PortDoor implements Door {
  readonly port: number;
  readonly socketReport: SocketReport;
  certificate: CheckedCertificate | undefined;
  readonly #parts: PortDoorParts;
  #now: Listening;
  /** The socket that listens beside the one of now until the loop has accepted what it has. */
  #last: us_listen_socket | undefined;
  #isListening = true;
  /** Apps with other certificates, whose connections may still be open. */
  #before: Made[] = [];
  #changing: Promise<unknown> = Promise.resolve();

  constructor(parts: PortDoorParts) {
    this.#parts = parts;
    this.#now = parts.listening;
    this.port = parts.options.port;
    this.socketReport = parts.socketReport;
    this.certificate = parts.certificate;
  }

  changeCertificate(files: CertificateFiles): Promise<CertificateFacts> {
    // One after the other: each closes the socket of the one before.
    const changed = this.#changing.then(() => this.#change(files));
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  async #change(files: CertificateFiles): Promise<CertificateFacts> {
    if (this.certificate === undefined) {
      const problem = 'this server was started without TLS; to begin with it, start it again';
      throw new HoldlineError('HOLDLINE_BAD_OPTION', problem);
    }
    this.#checkListening();
    const facts = readCertificate(files);
    // A change costs connects that wait to be accepted, so none is made for nothing.
    if (facts.digest === this.certificate.digest) return facts;
    const { make, options } = this.#parts;
    const made = make(files);
    const setSocketOptions = await prepareSocketOptions(options, this.port);
    this.#checkListening();
    const socket = listenOn(made.app, options, SHARED);
    if (socket === undefined) throw await listenFailure(options.host, this.port);
    setSocketOptions(this.port);
    this.#last = this.#now.socket;
    this.#closeUnused();
    this.#before.push(this.#now);
    this.#now = { ...made, socket };
    this.certificate = facts;
    // What has connected and is not accepted yet is reset when its listening socket closes, and
    // the least of it is right after the loop has accepted: the second turn is behind one whole
    // phase of that, wherever in its turn this began. native-notes/tls-reload.md
    await nextTurn();
    await nextTurn();
    this.#closeLast();
    return facts;
  }

  #checkListening(): void {
    if (!this.#isListening)
      throw new HoldlineError('HOLDLINE_LISTEN', 'this server does not listen any more');
  }

  #closeLast(): void {
    if (this.#last !== undefined) this.#parts.uws.us_listen_socket_close(this.#last);
    this.#last = undefined;
  }

  #closeUnused(): void {
    for (const { app, openSockets } of this.#before) if (openSockets() === 0) app.close();
    this.#before = this.#before.filter(({ openSockets }) => openSockets() > 0);
  }

  stopListening(): void {
    this.#closeLast();
    if (this.#isListening) this.#parts.uws.us_listen_socket_close(this.#now.socket);
    this.#isListening = false;
  }

  closeAll(): void {
    // To close an app closes its listening socket, too.
    this.#last = undefined;
    this.#isListening = false;
    for (const { app } of [...this.#before, this.#now]) app.close();
  }
}

/** Listens on a unix socket. Rejects with HOLDLINE_LISTEN. */
export async function openUnixSocket(
  uws: Uws,
  app: TemplatedApp,
  { path, mode }: { readonly path: string; readonly mode: number },
): Promise<Door> {
  await freeSocketPath(path);
  const socket = listenOnPath(app, path);
  if (socket === undefined) throw await socketPathFailure(path);
  let removeFile: () => void;
  try {
    removeFile = ownSocketFile(path, mode);
  } catch (error) {
    app.close();
    throw error;
  }
  let isListening = true;
  const stop = (): void => {
    if (isListening) removeFile();
    isListening = false;
  };
  return {
    port: 0,
    // Sockets of clients do not inherit them here, and no peer can vanish.
    socketReport: { options: {}, problems: [] },
    certificate: undefined,
    changeCertificate: () =>
      Promise.reject(
        new HoldlineError('HOLDLINE_BAD_OPTION', 'a server on a unix socket has no certificate'),
      ),
    stopListening() {
      if (isListening) uws.us_listen_socket_close(socket);
      stop();
    },
    closeAll() {
      stop();
      app.close();
    },
  };
}

/** Undefined if it cannot; the types lack that it answers false then. */
function listenOnPath(app: TemplatedApp, path: string): us_listen_socket | undefined {
  let socket: us_listen_socket | false = false;
  app.listen_unix((opened: us_listen_socket | false) => {
    socket = opened;
  }, path);
  return socket === false ? undefined : socket;
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

/** The default of uWebSockets: another listener may have the port, too. */
const SHARED = 0;

/**
 * Listens on the host's first address; the callback is called within the call. Undefined if it
 * cannot. native-notes/listen-addresses.md
 */
function listenOn(
  app: TemplatedApp,
  { host, port }: { readonly host: string; readonly port: number },
  sharing: number,
): us_listen_socket | undefined {
  let socket: us_listen_socket | false = false;
  (app as ListeningApp).listen(host, port, sharing, (opened) => (socket = opened));
  return socket === false ? undefined : socket;
}

async function listenAlone(
  app: TemplatedApp,
  uws: Uws,
  place: { readonly host: string; readonly port: number },
): Promise<us_listen_socket> {
  // Without this option two servers would silently share a port. native-notes/exclusive-port.md
  const socket = listenOn(app, place, uws.LIBUS_LISTEN_EXCLUSIVE_PORT);
  if (socket === undefined) throw await listenFailure(place.host, place.port);
  return socket;
}

/** Listens on a port that other processes of this server have or will have, too. */
async function listenBeside(
  app: TemplatedApp,
  place: { readonly host: string; readonly port: number },
): Promise<us_listen_socket> {
  const socket = listenOn(app, place, SHARED);
  if (socket === undefined) throw await listenFailure(place.host, place.port);
  return socket;
}

/**
 * Listens on a port that a later listener may share. So that no other server shares it now, the
 * system is asked first for the port alone. Port 0 is never shared, so a free one is found first.
 */
async function listenShared(
  app: TemplatedApp,
  { host, port: wanted }: { readonly host: string; readonly port: number },
): Promise<us_listen_socket> {
  for (let tries = 1; ; tries++) {
    const port = wanted === 0 ? await freePort(host) : wanted;
    const failure = await portFailure(host, port);
    if (failure !== undefined) throw failure;
    const socket = listenOn(app, { host, port }, SHARED);
    if (socket !== undefined) return socket;
    if (wanted !== 0 || tries === SHARED_PORT_TRIES_MAX) throw await listenFailure(host, port);
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
