/** Where a request comes from: the peer, and what listed peers say. */
import { describe, expect, test } from 'vitest';
import { Addresses, type ForwardedHeader, type Peer } from '../src/http/address.js';
import type { Head } from '../src/http/head.js';
import { readForwarded, readForwardedFor } from '../src/http/forwarded.js';
import { readIp } from '../src/ip.js';

function bytesOf(address: string | undefined): ArrayBuffer {
  return address === undefined ? new ArrayBuffer(0) : Uint8Array.from(readIp(address)!).buffer;
}

/** A connection from `own`, undefined for a unix socket, with an address of the PROXY protocol. */
function peer(own: string | undefined, proxied?: string): Peer {
  return {
    getRemoteAddress: () => bytesOf(own),
    getProxiedRemoteAddress: () => bytesOf(proxied),
  };
}

function made(
  trustedProxies: readonly string[],
  forwardedHeader: ForwardedHeader = 'x-forwarded-for',
) {
  return new Addresses({ trustedProxies, forwardedHeader });
}

/** A head with that one field. */
function head(value?: string, name = 'x-forwarded-for') {
  return { find: (asked: string) => (asked === name ? value : undefined) };
}

/** Where that server takes a request to be from. */
function seenBy(addresses: Addresses, from: Peer, asked: Pick<Head, 'find'>) {
  return addresses.of(from, addresses.forwardedIn(asked));
}

const PROXIES = ['10.0.0.0/8', '2001:db8:ffff::/48', '127.0.0.1'];

describe('without listed peers', () => {
  const addresses = made([]);

  test('the peer counts, whatever it says', () => {
    const seen = seenBy(addresses, peer('192.0.2.7', '198.51.100.1'), head('198.51.100.2'));
    expect(seen).toEqual({ shown: '192.0.2.7', network: '192.0.2.7', group: '192.0.2.7' });
    expect(addresses.hasProxies).toBe(false);
    expect(addresses.isOneRequest(peer('192.0.2.7', '198.51.100.1'))).toBe(false);
  });

  test('IPv6 counts by /64', () => {
    const seen = seenBy(addresses, peer('2001:db8:1:2:3::4'), head());
    expect(seen).toEqual({
      shown: '2001:db8:1:2:3::4',
      network: '2001:db8:1:2::/64',
      group: '2001:db8:1:2::/64',
    });
  });

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.3.4.5', '127.3.4.5'],
    ['::1', '::1'],
    [undefined, 'unix'],
  ])('%s is exempt', (own, shown) => {
    expect(seenBy(addresses, peer(own, '192.0.2.1'), head('192.0.2.2'))).toMatchObject({
      shown,
      group: '',
    });
  });
});

describe('X-Forwarded-For of a listed peer', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => `10.0.0.${i}`).join(', ');
  test.each([
    ['one address', '192.0.2.7', '192.0.2.7'],
    ['spaces and no spaces', ' 198.51.100.1 ,192.0.2.7 ', '192.0.2.7'],
    ['the client wrote the left ones', '127.0.0.1, 10.0.0.9, 192.0.2.7', '192.0.2.7'],
    ['listed proxies on the way', '198.51.100.1, 192.0.2.7, 10.0.0.8, 10.0.0.9', '192.0.2.7'],
    ['100 listed hops', `192.0.2.7, ${hundred}`, '192.0.2.7'],
    ['a port', '192.0.2.7:54321', '192.0.2.7'],
    ['IPv6', '2001:db8::7', '2001:db8::/64'],
    ['IPv6 in brackets', '[2001:db8::7]', '2001:db8::/64'],
    ['IPv6 in brackets with a port', '[2001:db8::7]:443', '2001:db8::/64'],
    ['IPv6 of a listed proxy', '192.0.2.7, [2001:db8:ffff::9]:443', '192.0.2.7'],
    ['a mapped address', '::ffff:192.0.2.7', '192.0.2.7'],
    ['a mapped address of a listed proxy', '192.0.2.7, ::ffff:10.0.0.9', '192.0.2.7'],
    ['loopback that a proxy saw', '127.0.0.2', '127.0.0.2'],
    // Clients that nobody can name count together, as the proxy that is known.
    ['unknown', 'unknown', '10.0.0.1'],
    ['unknown behind another listed proxy', '192.0.2.7, unknown, 10.0.0.9', '10.0.0.9'],
    ['nothing', '', '10.0.0.1'],
    ['a comma at the end', '192.0.2.7,', '10.0.0.1'],
    ['garbage', '192.0.2.7, <script>', '10.0.0.1'],
    ['a bad port', '192.0.2.7:port', '10.0.0.1'],
    ['an open bracket', '[2001:db8::7', '10.0.0.1'],
    ['leading zeros', '192.0.2.007', '10.0.0.1'],
    ['quotes', '"192.0.2.7"', '10.0.0.1'],
    ['a name', 'client.example', '10.0.0.1'],
    ['a number', '3221225991', '10.0.0.1'],
  ])('%s: %s', (_name, value, group) => {
    expect(seenBy(made(PROXIES), peer('10.0.0.1'), head(value)).group).toBe(group);
  });

  test.each([
    ['none', undefined, '10.0.0.1'],
    ['only listed ones', '10.0.0.8, 10.0.0.9', '10.0.0.8'],
  ])('%s: the proxy speaks for itself and is exempt', (_name, value, shown) => {
    const seen = seenBy(made(PROXIES), peer('10.0.0.1'), head(value));
    expect(seen).toMatchObject({ shown, group: '' });
  });

  test('of a peer that is not listed is not read', () => {
    expect(seenBy(made(PROXIES), peer('192.0.2.1'), head('198.51.100.1')).group).toBe('192.0.2.1');
    expect(seenBy(made(PROXIES), peer('127.0.0.2'), head('198.51.100.1'))).toMatchObject({
      shown: '127.0.0.2',
      group: '',
    });
  });

  test('a unix socket is listed by its word', () => {
    const seen = (trusted: string[], value?: string) =>
      seenBy(made(trusted), peer(undefined), head(value));
    expect(seen(['unix'], '192.0.2.7')).toMatchObject({ group: '192.0.2.7' });
    expect(seen(['unix'])).toMatchObject({ shown: 'unix', group: '' });
    expect(seen(['unix'], 'unknown')).toMatchObject({ shown: 'unix', group: 'unix' });
    expect(seen(['10.0.0.1'], '192.0.2.7')).toMatchObject({ shown: 'unix', group: '' });
  });
});

test('only the field of the option is read', () => {
  const fields = { find: (name: string) => (name === 'forwarded' ? 'for=192.0.2.1' : '192.0.2.2') };
  expect(seenBy(made(PROXIES, 'forwarded'), peer('10.0.0.1'), fields).group).toBe('192.0.2.1');
  expect(seenBy(made(PROXIES), peer('10.0.0.1'), fields).group).toBe('192.0.2.2');
});

describe('Forwarded (RFC 7239)', () => {
  test.each([
    ['for=192.0.2.43', '192.0.2.43'],
    ['For="[2001:db8:cafe::17]:4711"', '2001:db8:cafe::/64'],
    ['for=192.0.2.60;proto=http;by=203.0.113.43', '192.0.2.60'],
    ['proto=http; FOR="192.0.2.60:80"', '192.0.2.60'],
    ['for=198.51.100.1, for=192.0.2.43', '192.0.2.43'],
    ['for=192.0.2.43, for=10.0.0.9;by="a, b;for=9.9.9.9"', '192.0.2.43'],
    ['for="192.0.2.4\\3"', '192.0.2.43'],
    ['for=unknown', '10.0.0.1'],
    ['for=_hidden', '10.0.0.1'],
    ['for=192.0.2.43, by=10.0.0.9', '10.0.0.1'],
    ['for=192.0.2.43;for=192.0.2.44', '10.0.0.1'],
    ['for = 192.0.2.43', '10.0.0.1'],
    ['for', '10.0.0.1'],
    ['', '10.0.0.1'],
    // A quote that the client left open, before what the proxy added.
    ['for=9.9.9.9;x=", for=192.0.2.43', '10.0.0.1'],
    ['for=9.9.9.9;x=", for="[2001:db8::7]"', '10.0.0.1'],
    ['for=9.9.9.9;x="\\", for="[2001:db8::7]"', '10.0.0.1'],
  ])('%s', (value, group) => {
    const seen = seenBy(made(PROXIES, 'forwarded'), peer('10.0.0.1'), head(value, 'forwarded'));
    expect(seen.group).toBe(group);
  });

  test('lists are read from the right, and no further than asked', () => {
    expect([...readForwardedFor('a, 1.2.3.4,[::1]:80 ,')]).toEqual([
      undefined,
      '::1',
      '1.2.3.4',
      'a',
    ]);
    expect([...readForwardedFor(',1.2.3.4')]).toEqual(['1.2.3.4', undefined]);
    expect([...readForwarded('for=1.2.3.4,for="[::1]";by=x, by=y')]).toEqual([
      undefined,
      '::1',
      '1.2.3.4',
    ]);
    const started = performance.now();
    const long = 'for="\\a'.repeat(20_000);
    expect([...readForwarded(long)]).toEqual([undefined]);
    expect(performance.now() - started).toBeLessThan(200);
  });
});

describe('the PROXY protocol', () => {
  test('is read from listed peers only', () => {
    const addresses = made(PROXIES);
    expect(seenBy(addresses, peer('10.0.0.1', '192.0.2.7'), head()).group).toBe('192.0.2.7');
    expect(seenBy(addresses, peer('198.51.100.1', '192.0.2.7'), head()).group).toBe('198.51.100.1');
  });

  test('the field is then what the client sent, unless that is a listed proxy', () => {
    const addresses = made(PROXIES);
    expect(seenBy(addresses, peer('10.0.0.1', '192.0.2.7'), head('9.9.9.9')).group).toBe(
      '192.0.2.7',
    );
    expect(seenBy(addresses, peer('10.0.0.1', '10.0.0.2'), head('192.0.2.8')).group).toBe(
      '192.0.2.8',
    );
  });

  test('such a connection is for one request, where another may replace the address', () => {
    const addresses = made(PROXIES);
    expect(addresses.isOneRequest(peer('10.0.0.1', '192.0.2.7'))).toBe(true);
    expect(addresses.isOneRequest(peer('10.0.0.1'))).toBe(false);
    addresses.isReplaceable = false;
    expect(addresses.isOneRequest(peer('10.0.0.1', '192.0.2.7'))).toBe(false);
  });

  test('is not read where the listener has TLS', () => {
    const addresses = made(PROXIES);
    addresses.readsProxyProtocol = false;
    expect(seenBy(addresses, peer('10.0.0.1', '192.0.2.7'), head()).group).toBe('');
    expect(addresses.isOneRequest(peer('10.0.0.1', '192.0.2.7'))).toBe(false);
  });
});
