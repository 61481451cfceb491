/** Held lines as an actor: many readers, that read all the time or stall in turn; they count what they are told is lost. */
import { connect, Socket } from 'node:net';
import { forEachOf, type Actor } from './actor.js';
import { connectWithReceiveBuffer } from './receive-buffer.js';

export interface LinesParameters {
  readonly count: number;
  /** `{n}` is the number of the line. */
  readonly path: string;
  /** One for each line in turn. */
  readonly accept?: readonly string[];
  /** SO_RCVBUF as the kernel counts it, bytes; 0: its own. */
  readonly receiveBufferBytes?: number;
  /** Who stalls for `stallMs`, reads for as long, and so on: nobody, the first line, or each line after the other. */
  readonly stalls?: 'nobody' | 'first' | 'in turn';
  readonly stallMs?: number;
  /** Look for gaps in what is read; many lines only count bytes. */
  readonly findsGaps?: boolean;
}

const GAP = 'event: gap';
const scratch = Buffer.alloc(256 * 1024);

interface Line {
  readonly socket: Socket;
  gaps: number;
  tail: string;
}

export const lines: Actor<LinesParameters> = async (port, parameters) => {
  const { count, path, accept = ['text/event-stream'], receiveBufferBytes = 0, findsGaps = false } = parameters;
  const { stalls = 'nobody', stallMs = 0 } = parameters;
  const all: Line[] = [];
  let open = 0;
  let closed = 0;
  let readBytes = 0;
  let refused = 0;
  let stopped = false;

  function openOne(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let isOpen = false;
      let head = '';
      const read = (bytes: Buffer): void => {
        readBytes += bytes.length;
        if (!isOpen) {
          head += bytes.toString('latin1');
          if (!head.includes('\r\n\r\n')) return;
          isOpen = true;
          open++;
          if (!head.startsWith('HTTP/1.1 200')) refused++;
          resolve();
        }
        if (!findsGaps) return;
        const text = line.tail + bytes.toString('latin1');
        for (let at = text.indexOf(GAP); at >= 0; at = text.indexOf(GAP, at + 1)) line.gaps++;
        line.tail = text.slice(-GAP.length + 1);
      };
      let socket: Socket;
      if (receiveBufferBytes > 0) {
        socket = new Socket({ fd: connectWithReceiveBuffer(port, receiveBufferBytes) });
        socket.on('data', read);
      } else {
        const callback = (bytes: number): boolean => {
          read(scratch.subarray(0, bytes));
          return true;
        };
        socket = connect({ port, host: '127.0.0.1', onread: { buffer: scratch, callback } });
      }
      const line: Line = { socket, gaps: 0, tail: '' };
      all[index] = line;
      socket.on('error', reject);
      socket.on('close', () => {
        reject(new Error(`line ${index} was closed`));
        if (!stopped) closed++;
        open--;
      });
      const target = path.replaceAll('{n}', String(index));
      socket.write(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: ${accept[index % accept.length]}\r\n\r\n`);
    });
  }

  await forEachOf(count, 256, openOne);
  // Who stalls does not read for one step; the first line reads in every second.
  let step = 0;
  const turn = (): void => {
    const before = all[stalls === 'first' ? 0 : (step - 1 + count) % count] as Line;
    const now = all[stalls === 'first' ? 0 : step % count] as Line;
    if (stalls === 'in turn' || step % 2 === 1) before.socket.resume();
    if (stalls === 'in turn' || step % 2 === 0) now.socket.pause();
    step++;
  };
  const timer = stalls === 'nobody' ? undefined : setInterval(turn, stallMs);

  const look = () => {
    const gaps = all.reduce((sum, line) => sum + line.gaps, 0);
    const figures = { open, closed, refused, readBytes, gaps, gapsOfOthers: gaps - (all[0]?.gaps ?? 0) };
    readBytes = 0;
    return figures;
  };
  return {
    look,
    stop() {
      clearInterval(timer);
      const figures = look();
      stopped = true;
      for (const { socket } of all) socket.resetAndDestroy();
      return figures;
    },
  };
};
