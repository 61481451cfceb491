// uWebSockets reads a PROXY protocol v2 header in front of any request, from anybody;
// getRemoteAddress stays the peer's own, and version 1 is answered 505.
import { RawClient, byBuild, listen, main, uWS, until, upgrade, upgradeHeaders } from './support.js';
import { Findings, type ProbeResult } from './support.js';

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** A header of version 2: command, family and transport, and the address block. */
function header(command: number, family: number, block: Buffer): Buffer {
  const head = Buffer.from([0x20 | command, family, block.length >> 8, block.length & 255]);
  return Buffer.concat([SIGNATURE, head, block]);
}

/** TCP over IPv4: source, destination and both ports. */
function proxied4(source: string): Buffer {
  const addresses = [...source.split('.'), '203', '0', '113', '9'].map(Number);
  return header(1, 0x11, Buffer.from([...addresses, 0x30, 0x39, 0, 80]));
}

/** TCP over IPv6, from 2001:db8::LAST. */
function proxied6(last: number): Buffer {
  const source = Buffer.from('20010db8000000000000000000000000', 'hex');
  source[15] = last;
  return header(1, 0x21, Buffer.concat([source, Buffer.alloc(16), Buffer.from([1, 2, 0, 80])]));
}

const request = Buffer.from('GET / HTTP/1.1\r\nHost: probe\r\n\r\n');

/** What the handler sees of a request: the peer's own address, and the one in the header. */
function seenOf(response: {
  getRemoteAddress(): ArrayBuffer;
  getProxiedRemoteAddress(): ArrayBuffer;
}): string {
  const hex = (address: ArrayBuffer): string => Buffer.from(address).toString('hex') || 'none';
  return `${hex(response.getRemoteAddress())} proxied ${hex(response.getProxiedRemoteAddress())}`;
}

export async function probe(): Promise<ProbeResult> {
  const found = new Findings();
  const seen: string[] = [];
  const app = uWS.App().any('/*', (response) => {
    seen.push(seenOf(response));
    response.end('ok');
  });
  app.ws('/socket', {
    upgrade: (response, asked, context) => {
      seen.push(seenOf(response));
      upgrade(response, asked, context, {});
    },
  });
  const { port } = await listen(app);
  /** Sends each part when the one before was answered, and tells what was seen of each. */
  const ask = async (...parts: Buffer[]): Promise<string> => {
    seen.length = 0;
    const client = new RawClient(port);
    for (const part of parts) {
      const bytes = client.receivedBytes;
      client.send(part);
      await until(() => client.receivedBytes > bytes || client.closed, 'an answer or the end');
    }
    const status = [...client.text().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code);
    client.destroy();
    return `${seen.join(', ') || 'nothing'}; answered ${status.join(' ') || 'nothing'}`;
  };
  const own = '7f000001';
  const with4 = Buffer.concat([proxied4('192.0.2.7'), request]);
  const asOne = (...parts: Buffer[]): Buffer => Buffer.concat(parts);
  for (const [name, parts] of [
    ['no header', [request]],
    ['IPv4', [with4]],
    ['IPv6', [asOne(proxied6(1), request)]],
    ['LOCAL, no address', [asOne(header(0, 0, Buffer.alloc(0)), request)]],
    ['LOCAL with an IPv4 block', [asOne(header(0, 0x11, Buffer.from(proxied4('192.0.2.7').subarray(16))), request)]],
    ['a unix socket', [asOne(header(1, 0x31, Buffer.alloc(216, 0x61)), request)]],
    ['UDP over IPv4', [asOne(header(1, 0x12, Buffer.from(proxied4('192.0.2.7').subarray(16))), request)]],
    ['IPv4 and 40 bytes behind the addresses', [asOne(header(1, 0x11, Buffer.concat([proxied4('192.0.2.7').subarray(16), Buffer.alloc(40, 1)])), request)]],
    ['IPv4, block of 4 bytes', [asOne(header(1, 0x11, Buffer.from([192, 0, 2, 7])), request)]],
    ['a second request without a header', [with4, request]],
    ['a second request with another header', [with4, asOne(proxied4('192.0.2.8'), request)]],
    ['both in one segment', [asOne(with4, proxied4('192.0.2.8'), request)]],
    ['the first header in front of a second request', [request, with4]],
    ['version 1', [asOne(Buffer.from('PROXY TCP4 192.0.2.7 203.0.113.9 12345 80\r\n'), request)]],
    ['a WebSocket', [asOne(proxied4('192.0.2.7'), Buffer.from(`GET /socket HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`))]],
  ] as const) found.add(name, await ask(...parts), '');
  void own; void byBuild;
  app.close();
  return { claim: 'x', holds: found.holds, rows: found.rows };
}

await main(import.meta.url, probe);
