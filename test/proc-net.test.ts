/** Rows of the kernel's tables, in whatever pieces they come: every one is shown once, whole. */
import { expect, test } from 'vitest';
import { visitRows } from '../src/linux/sockets.js';

/**
 * As Linux prints them, of both tables; the second heading stands where the second table begins.
 */
const TEXT = [
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
  '   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1646 1 00000000e9ef1602 100 0 0 10 0',
  '12345: 0100007F:83D4 0100007F:88DB 06 00000000:00000000 03:00000DE6 00000000     0        0 0 3 00000000873e22f8',
  '  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
  '   1: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:88DB 01 000001FE:0000ABCD 00:00000000 00000000  1000        0 77 1 0',
  '',
].join('\n');

const bytes = Buffer.from(TEXT);

test('rows are shown once each, however the text is cut, and headings are none', () => {
  for (let size = 200; size <= bytes.length; size++) {
    const piece = Buffer.alloc(size);
    const ports: string[] = [];
    let left = 0;
    for (let at = 0; at < bytes.length;) {
      const read = bytes.copy(piece, left, at, Math.min(bytes.length, at + size - left));
      at += read;
      left = visitRows(
        piece,
        left + read,
        (row, start) => void ports.push(String.fromCharCode(...row.subarray(start, start + 4))),
      );
    }
    expect([ports, left], `in pieces of ${size}`).toEqual([['07E8', '83D4', '1F90'], 0]);
  }
});
