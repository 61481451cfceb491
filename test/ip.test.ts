/** IP addresses: text, bytes, what one client has to itself, and ranges. */
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import {
  ipOf,
  ipRangeText,
  ipText,
  isInRange,
  isLoopbackIp,
  networkOf,
  readIp,
  readIpRange,
} from '../src/ip.js';

/** Text → its shortest text, and the network of one client. */
const READ: readonly (readonly [string, string, string])[] = [
  ['192.0.2.7', '192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7', '192.0.2.7'],
  ['::FFFF:c000:207', '192.0.2.7', '192.0.2.7'],
  ['0:0:0:0:0:ffff:192.0.2.7', '192.0.2.7', '192.0.2.7'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1', '2001:db8::/64'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1', '2001:db8:0:1::/64'],
  ['fe80::1%eth0', 'fe80::1', 'fe80::/64'],
  ['::', '::', '::/64'],
  ['::1', '::1', '::/64'],
  ['64:ff9b::192.0.2.7', '64:ff9b::c000:207', '64:ff9b::/64'],
];

test.each(READ)('%s is %s, of %s', (text, shortest, network) => {
  const ip = readIp(text)!;
  expect(ipText(ip)).toBe(shortest);
  expect(networkOf(ip)).toBe(network);
});

test.each([
  '',
  ' ',
  '192.0.2',
  '192.0.2.256',
  '192.0.2.07',
  '1.2.3.4.5',
  'a',
  ':::',
  '1::2::3',
  '[::1]',
  '::1/64',
  '12345::',
  '0x7f.1',
  '2130706433',
  '192.0.2.7 ',
  'unknown',
])('%j is no address', (text) => {
  expect(readIp(text)).toBeUndefined();
});

test('every address is read back from its text', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(
      fc.oneof(
        bytes(4),
        bytes(16),
        fc.ipV6().map((text) => readIp(text)!),
      ),
      (raw) => {
        const ip = ipOf(Uint8Array.from(raw).buffer)!;
        expect(readIp(ipText(ip))).toEqual(ip);
      },
    ),
  );
});

test('bytes of a socket: none on a unix socket, IPv4 also where they are mapped', () => {
  expect(ipOf(new ArrayBuffer(0))).toBeUndefined();
  expect(ipOf(new ArrayBuffer(7))).toBeUndefined();
  const mapped = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7]);
  expect(ipText(ipOf(mapped.buffer)!)).toBe('192.0.2.7');
  // The memory of the socket is another's after the call.
  const socket = Uint8Array.from([192, 0, 2, 7]);
  const ip = ipOf(socket.buffer)!;
  socket.fill(0);
  expect(ipText(ip)).toBe('192.0.2.7');
});

test('loopback', () => {
  const loopback = ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'];
  expect(loopback.filter((text) => !isLoopbackIp(readIp(text)!))).toEqual([]);
  expect(['128.0.0.1', '::2', '::', '1::1'].filter((text) => isLoopbackIp(readIp(text)!))).toEqual(
    [],
  );
});

describe('ranges', () => {
  test.each([
    [
      '10.1.2.3/8',
      '10.0.0.0/8',
      ['10.0.0.0', '10.255.255.255', '::ffff:10.9.9.9'],
      ['11.0.0.0', '9.255.255.255', '::'],
    ],
    ['192.0.2.7', '192.0.2.7', ['192.0.2.7'], ['192.0.2.6', '192.0.2.8']],
    [
      '192.0.2.128/25',
      '192.0.2.128/25',
      ['192.0.2.128', '192.0.2.255'],
      ['192.0.2.127', '192.0.3.128'],
    ],
    ['0.0.0.0/0', '0.0.0.0/0', ['1.2.3.4', '255.0.0.1'], ['::1']],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8', ['10.3.4.5'], ['11.0.0.0']],
    [
      '2001:db8:8000::/33',
      '2001:db8:8000::/33',
      ['2001:db8:8000::1', '2001:db8:ffff::'],
      ['2001:db8::1', '2001:db9::'],
    ],
    ['::/0', '::/0', ['::1', 'ff::'], ['192.0.2.7']],
  ] as const)('%s', (text, normal, inside, outside) => {
    const range = readIpRange(text)!;
    expect(ipRangeText(range)).toBe(normal);
    expect(inside.filter((one) => !isInRange(readIp(one)!, range))).toEqual([]);
    expect(outside.filter((one) => isInRange(readIp(one)!, range))).toEqual([]);
  });

  test.each([
    '',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '10/8',
    '::/129',
    '::ffff:10.0.0.0/8',
    '10.0.0.0/-1',
    'proxy',
  ])('%j is none', (text) => {
    expect(readIpRange(text)).toBeUndefined();
  });
});
