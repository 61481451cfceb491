/** Held lines as an actor: many readers that read all the time. */
import { connect, type Socket } from 'node:net';
import { forEachOf, type Actor } from './actor.js';

export interface LinesParameters {
  readonly count: number;
  /** `{n}` is the number of the line. */
  readonly path: string;
  /** One for each line in turn. */
  readonly accept?: readonly string[];
}

const scratch = Buffer.alloc(256 * 1024);

export const lines: Actor<LinesParameters> = async (
  port,
  { count, path, accept = ['text/event-stream'] },
) => {
  const all: Socket[] = [];
  let open = 0;
  let closed = 0;
  let readBytes = 0;
  let refused = 0;
  let stopped = false;

  function openOne(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let isOpen = false;
      let head = '';
      const callback = (bytes: number): boolean => {
        readBytes += bytes;
        if (isOpen) return true;
        head += scratch.toString('latin1', 0, bytes);
        if (!head.includes('\r\n\r\n')) return true;
        isOpen = true;
        open++;
        if (!head.startsWith('HTTP/1.1 200')) refused++;
        resolve();
        return true;
      };
      const socket = connect({ port, host: '127.0.0.1', onread: { buffer: scratch, callback } });
      all[index] = socket;
      socket.on('error', reject);
      socket.on('close', () => {
        reject(new Error(`line ${index} was closed`));
        if (!stopped) closed++;
        open--;
      });
      const target = path.replaceAll('{n}', String(index));
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: ${accept[index % accept.length]}\r\n\r\n`,
      );
    });
  }

  await forEachOf(count, 256, openOne);

  const look = () => {
    const figures = { open, closed, refused, readBytes };
    readBytes = 0;
    return figures;
  };
  return {
    look,
    stop() {
      const figures = look();
      stopped = true;
      for (const socket of all) socket.resetAndDestroy();
      return figures;
    },
  };
};
