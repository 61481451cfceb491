/**
 * IP addresses as bytes: read from text and from sockets, written as text, grouped by what one
 * client has to itself, and compared with ranges. An IPv4 address in IPv6 (`::ffff:192.0.2.7`, RFC
 * 4291, 2.5.5.2) is the IPv4 address everywhere, since a listener on `::` sees all of them so.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** 4 bytes of IPv4 or 16 of IPv6, in network order. */
export type Ip = Uint8Array;

/** The addresses that begin with the same bits. */
export interface IpRange {
  readonly first: Ip;
  /** Bits that all of them share: 0 to 32 for IPv4, to 128 for IPv6. */
  readonly bits: number;
}

const IPV4_BYTES = 4;
const IPV6_BYTES = 16;

/** Hextets of an IPv6 address, and of the network that one client has: /64 (RFC 4291, 2.5.1). */
const HEXTETS = 8;
const CLIENT_HEXTETS = 4;

/** The address in those bytes, a copy of their own; undefined unless they are 4 or 16. */
export function ipOf(bytes: ArrayBuffer): Ip | undefined {
  const { byteLength } = bytes;
  if (byteLength !== IPV4_BYTES && byteLength !== IPV6_BYTES) return undefined;
  return unmapped(new Uint8Array(bytes.slice(0)));
}

/**
 * Reads `192.0.2.7` or `2001:db8::7`, without brackets and port; undefined for anything else, also
 * for parts with leading zeros. The zone of a link-local address (`%eth0`, RFC 4007) is left out.
 */
export function readIp(text: string): Ip | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text)) return undefined;
  const [address = ''] = text.split('%', 1);
  const [before = '', after] = address.split('::', 2);
  const left = hextetsOf(before);
  const right = after === undefined ? [] : hextetsOf(after);
  const middle = Array.from({ length: HEXTETS - left.length - right.length }, () => 0);
  const bytes = [...left, ...middle, ...right].flatMap((hextet) => [hextet >> 8, hextet & 255]);
  return unmapped(Uint8Array.from(bytes));
}

/** Hextets of a part of an IPv6 address; its end may be written as an IPv4 address. */
function hextetsOf(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((piece) => {
    if (!piece.includes('.')) return [Number.parseInt(piece, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = piece.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** ::ffff:0:0/96 is IPv4. */
function unmapped(ip: Ip): Ip {
  if (ip.length !== IPV6_BYTES || ip[10] !== 255 || ip[11] !== 255) return ip;
  for (let i = 0; i < 10; i++) if (ip[i] !== 0) return ip;
  return ip.slice(12);
}

/** As text; an IPv6 address in its shortest form (RFC 5952, 4). */
export function ipText(ip: Ip): string {
  if (ip.length === IPV4_BYTES) return ip.join('.');
  const hextets = hextetsIn(ip);
  let [runStart, runLength] = [0, 1];
  for (let start = 0; start < HEXTETS; start++) {
    let length = 0;
    while (hextets[start + length] === 0) length++;
    if (length > runLength) [runStart, runLength] = [start, length];
  }
  const words = hextets.map((hextet) => hextet.toString(16));
  if (runLength === 1) return words.join(':');
  return `${words.slice(0, runStart).join(':')}::${words.slice(runStart + runLength).join(':')}`;
}

function hextetsIn(ip: Ip): number[] {
  return Array.from({ length: ip.length / 2 }, (_, i) => (ip[2 * i]! << 8) | ip[2 * i + 1]!);
}

/** What one client has to itself, as text: an IPv4 address, or an IPv6 network of 64 bits. */
export function networkOf(ip: Ip): string {
  if (ip.length === IPV4_BYTES) return ip.join('.');
  const network = new Uint8Array(IPV6_BYTES);
  network.set(ip.subarray(0, 2 * CLIENT_HEXTETS));
  return `${ipText(network)}/64`;
}

/** True for the addresses of this machine alone: 127.0.0.0/8 and ::1. */
export function isLoopbackIp(ip: Ip): boolean {
  if (ip.length === IPV4_BYTES) return ip[0] === 127;
  return ip[15] === 1 && ip.subarray(0, 15).every((byte) => byte === 0);
}

/** Reads an address, or a range such as `10.0.0.0/8` or `2001:db8::/32` (RFC 4632, 3.1). */
export function readIpRange(text: string): IpRange | undefined {
  const [address = '', length] = text.split('/', 2);
  const first = readIp(address);
  if (first === undefined || text.split('/').length > 2) return undefined;
  const most = 8 * first.length;
  if (length === undefined) return { first, bits: most };
  if (!/^(?:0|[1-9]\d{0,2})$/.test(length)) return undefined;
  // Bits of an IPv4 range that is written in IPv6 begin behind ::ffff:.
  const bits = Number(length) - (first.length === IPV4_BYTES && address.includes(':') ? 96 : 0);
  if (bits < 0 || bits > most) return undefined;
  const masked = first.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))));
  return { first: masked, bits };
}

/** A range as text: an address alone where it has no more. */
export function ipRangeText({ first, bits }: IpRange): string {
  return bits === 8 * first.length ? ipText(first) : `${ipText(first)}/${bits}`;
}

export function isInRange(ip: Ip, { first, bits }: IpRange): boolean {
  if (ip.length !== first.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (ip[i] !== first[i]) return false;
  const rest = bits & 7;
  return rest === 0 || ((ip[whole]! ^ first[whole]!) & (0xff00 >> rest) & 255) === 0;
}
