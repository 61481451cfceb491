/**
 * The file of a unix socket. uWebSockets.js takes any path over without a word, that of a server
 * that is running, too, and leaves the file behind: so the path is looked at before, and the file
 * is removed after. native-notes/unix-sockets.md
 */
import { chmodSync, existsSync, lstatSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { HoldlineError } from '../errors.js';

/**
 * Makes a path free for a server: removes the socket of one that is gone. Rejects with
 * HOLDLINE_LISTEN if a server answers there, or if there is another file.
 */
export async function freeSocketPath(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch (cause) {
    // Asked to listen in a folder that is not there, Node says that it may not.
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(dirname(path))) return;
    throw failure(path, reasonOf(cause), cause);
  }
  if (!isSocket)
    throw failure(path, 'there is a file that is no socket; choose another --unix-socket');
  const error = await connectOnce(path);
  switch (error?.code) {
    case 'ECONNREFUSED':
      break;
    // It was removed meanwhile.
    case 'ENOENT':
      return;
    // The queue of a server that is busy is full.
    case undefined:
    case 'EAGAIN':
      throw failure(path, 'another server answers there; choose another path, or stop that server');
    default:
      throw failure(path, reasonOf(error), error);
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    throw failure(path, reasonOf(cause), cause);
  }
}

/** Gives the file its mode. Returns what removes the file while it is still this one. */
export function ownSocketFile(path: string, mode: number): () => void {
  try {
    chmodSync(path, mode);
  } catch (cause) {
    throw failure(path, reasonOf(cause), cause);
  }
  const { ino, dev } = statSync(path);
  return () => {
    try {
      // The next server may have its socket there already.
      const now = lstatSync(path);
      if (now.ino === ino && now.dev === dev) unlinkSync(path);
    } catch {
      // Somebody else has removed it.
    }
  };
}

/** Why uWebSockets.js could not listen there, which it does not tell: the system is asked again. */
export async function socketPathFailure(path: string): Promise<HoldlineError> {
  const cause = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const probe = createServer();
    probe.on('error', resolve);
    probe.listen(path, () => probe.close(() => resolve(undefined)));
  });
  return failure(path, reasonOf(cause), cause);
}

/** The error of one connect; undefined if somebody answers. */
function connectOnce(path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', resolve);
    socket.on('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
  });
}

function reasonOf(cause: unknown): string {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'its folder is not there; make the folder first';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not; choose a folder that this user may write to';
    case undefined:
      return 'the system refused, and a moment later it was free; try again';
    default:
      return `the system says ${code}; choose another --unix-socket`;
  }
}

function failure(path: string, reason: string, cause?: unknown): HoldlineError {
  return new HoldlineError(
    'HOLDLINE_LISTEN',
    `cannot listen on the unix socket ${JSON.stringify(path)}: ${reason}`,
    { cause },
  );
}
