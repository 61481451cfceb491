/**
 * Many small requests over few connections: a hundred at a time are sent on each, and the next when
 * all are answered.
 */
import { connect } from 'node:net';

const AT_A_TIME = 100;

const STATUS = /HTTP\/1\.1 (\d{3})/g;
const STATUS_CHARS = 'HTTP/1.1 200'.length;

/**
 * Sends `count` requests and gives the number of answers by status. Rejects when a connection is
 * closed before its answers have come.
 */
export async function pipeline(
  port: number,
  count: number,
  requestAt: (index: number) => string,
  lanes = 4,
): Promise<Map<number, number>> {
  const answers = new Map<number, number>();
  let next = 0;
  const lane = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1' }).setEncoding('latin1');
      let owed = 0;
      let rest = '';
      const send = (): void => {
        const last = Math.min(count, next + AT_A_TIME);
        owed = last - next;
        let text = '';
        for (; next < last; next++) text += requestAt(next);
        if (owed > 0) socket.write(text);
        else socket.destroy();
      };
      socket.on('connect', send);
      socket.on('data', (text: string) => {
        rest += text;
        let read = 0;
        for (const { index, 1: status } of rest.matchAll(STATUS)) {
          answers.set(Number(status), (answers.get(Number(status)) ?? 0) + 1);
          read = index + STATUS_CHARS;
          owed--;
        }
        // A status line that is cut off is read when the rest of it has come.
        rest = rest.slice(Math.max(read, rest.length - STATUS_CHARS + 1));
        if (owed === 0) send();
      });
      socket.on('error', reject);
      socket.on('close', () =>
        owed === 0 ? resolve() : reject(new Error(`closed with ${owed} requests unanswered`)),
      );
    });
  await Promise.all(Array.from({ length: lanes }, lane));
  return answers;
}
