/**
 * Floods as actors: sockets that send bytes as they are, once or without end, and read the answers
 * or do not.
 */
import { connect, type Socket } from 'node:net';
import { forEachOf, type Actor } from './actor.js';

export interface SocketsParameters {
  readonly count: number;
  /** Sent first, as latin1. `{n}` is the number of the socket. */
  readonly opening?: string;
  /** Wait for the head of an answer to the opening before anything else is sent. */
  readonly awaitsHead?: boolean;
  /** Sent once behind the opening, as latin1. */
  readonly first?: string;
  /** Sent again and again, as latin1. */
  readonly unit?: string;
  /** How long after the last unit the next one is sent, ms; 0: as fast as it is taken. */
  readonly everyMs?: number;
  /** How often; 0: without end, also on a new socket where the server has closed one. */
  readonly times?: number;
  readonly reads: boolean;
  /** Resolve only when all that is sent `times` has left, or its socket is closed. */
  readonly awaitsSent?: boolean;
}

const BLOCK_BYTES = 64 * 1024;

/** All sockets of one actor read into one piece of memory: nobody looks at it. */
const scratch = Buffer.alloc(BLOCK_BYTES);

export const sockets: Actor<SocketsParameters> = async (port, parameters) => {
  const {
    count,
    opening = '',
    awaitsHead = false,
    first = '',
    unit = '',
    everyMs = 0,
    times = 0,
  } = parameters;
  const { reads, awaitsSent = false } = parameters;
  const unitBytes = Buffer.from(unit, 'latin1');
  const unitsInBlock = Math.max(1, Math.floor(BLOCK_BYTES / Math.max(1, unitBytes.length)));
  const block = Buffer.concat(Array.from({ length: unitsInBlock }, () => unitBytes));
  const open = new Set<Socket>();
  let stopped = false;
  let opened = 0;
  let closed = 0;
  let readBytes = 0;
  let sentUnits = 0;
  let openedMs = 0;
  let lastClosedMs = 0;

  function sendUnits(socket: Socket, done: () => void): void {
    if (everyMs > 0) {
      const timer = setInterval(() => socket.write(unitBytes), everyMs);
      socket.on('close', () => clearInterval(timer));
      done();
      return;
    }
    let left = times === 0 ? Number.POSITIVE_INFINITY : times;
    const send = (): void => {
      while (left > 0) {
        const now = Math.min(left, unitsInBlock);
        left -= now;
        sentUnits += now;
        const bytes = now === unitsInBlock ? block : block.subarray(0, now * unitBytes.length);
        if (!socket.write(bytes)) return;
      }
      done();
    };
    socket.on('drain', send);
    send();
  }

  function openOne(index: number): Promise<void> {
    return new Promise((resolve) => {
      const text = opening.replaceAll('{n}', String(index));
      let isHead = awaitsHead;
      let head = '';
      const begin = (): void => {
        if (!reads) socket.pause();
        if (first !== '') socket.write(Buffer.from(first, 'latin1'));
        if (unitBytes.length === 0) resolve();
        else if (awaitsSent) sendUnits(socket, resolve);
        else {
          resolve();
          sendUnits(socket, () => {});
        }
      };
      const socket = connect({
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer: scratch,
          callback(bytes) {
            readBytes += bytes;
            if (!isHead) return reads;
            head += scratch.toString('latin1', 0, bytes);
            if (!head.includes('\r\n\r\n')) return true;
            isHead = false;
            setImmediate(begin);
            return reads;
          },
        },
      });
      if (!reads && !awaitsHead) socket.pause();
      socket.on('connect', () => {
        opened++;
        open.add(socket);
        if (text !== '') socket.write(Buffer.from(text, 'latin1'));
        if (!awaitsHead) begin();
      });
      // A socket that the server resets is closed, and counted so.
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        resolve();
        if (stopped) return;
        closed++;
        lastClosedMs = performance.now();
        if (times === 0 && everyMs === 0 && unitBytes.length > 0)
          setTimeout(() => stopped || void openOne(index), 1);
      });
    });
  }

  await forEachOf(count, 256, openOne);
  openedMs = performance.now();

  const look = () => {
    const figures = {
      opened,
      closed,
      open: open.size,
      readBytes,
      sentUnits,
      lastClosedAfterMs: lastClosedMs - openedMs,
    };
    readBytes = sentUnits = 0;
    return figures;
  };
  return {
    look,
    stop() {
      const figures = look();
      stopped = true;
      for (const socket of open) socket.resetAndDestroy();
      return figures;
    },
  };
};
