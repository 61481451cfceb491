/** What /proc/PID/smaps says, and the account of a line's bytes. */
import { expect, test } from 'vitest';
import { type HeapFigures, heapRows, mappingsIn } from './heap.js';

test('resident bytes are summed by mapping', () => {
  const smaps = [
    '00400000-05e4c000 r-xp 00000000 fe:00 1234   /usr/bin/node',
    'Size:              94000 kB',
    'Rss:                  40 kB',
    '0717d000-08dd5000 rw-p 00000000 00:00 0      [heap]',
    'Rss:                 100 kB',
    '7f0000000000-7f0000100000 rw-p 00000000 00:00 0 ',
    'Rss:                   8 kB',
    'Pss:                   8 kB',
    '7f0000200000-7f0000300000 rw-p 00000000 00:00 0 ',
    'Rss:                  16 kB',
    '7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]',
    'Rss:                   4 kB',
  ].join('\n');
  expect(mappingsIn(smaps)).toEqual({
    breakBytes: 100 * 1024,
    anonymousBytes: 24 * 1024,
    otherBytes: 44 * 1024,
  });
});

test('the parts of the account and its rest add up to the whole', () => {
  const figures: HeapFigures = {
    rss: 840,
    v8Used: 170,
    v8Objects: [
      { name: 'closure', count: 1, bytes: 56 },
      { name: 'object system / Context', count: 1, bytes: 56 },
      { name: 'object uWS.HttpResponse', count: 1, bytes: 32 },
    ],
    arrayBuffers: 34,
    native: 637,
    v8Unused: -11,
    mallocUnused: 37,
    mappings: { breakBytes: 700, anonymousBytes: 140, otherBytes: 0 },
  };
  const rows = heapRows(figures);
  const parts = rows.slice(0, -1).filter(({ isPart }) => isPart !== true);
  expect(parts.reduce((sum, { bytesPerLine }) => sum + bytesPerLine!, 0)).toBeCloseTo(840);
  expect(rows.filter(({ isPart }) => isPart).map(({ what }) => what)).toEqual([
    'closure',
    'Context',
    'uWS.HttpResponse',
  ]);
  // What is unknown is no part, and stays in the rest.
  const untold = heapRows({ ...figures, native: null, mallocUnused: null });
  expect(untold.at(-2)?.bytesPerLine).toBeCloseTo(840 - 170 - 34 + 11);
});
