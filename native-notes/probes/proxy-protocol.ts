// uWebSockets reads a PROXY protocol v2 header in front of any request, from anybody; what a later
// one does differs between the builds.
import {
  byBuild,
  Findings,
  listen,
  main,
  RawClient,
  until,
  upgrade,
  upgradeHeaders,
  uWS,
  type ProbeResult,
} from './support.js';

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

/** TCP over IPv6, from 2001:db8::1. */
function proxied6(): Buffer {
  const source = Buffer.from('20010db8000000000000000000000001', 'hex');
  return header(1, 0x21, Buffer.concat([source, Buffer.alloc(16), Buffer.from([1, 2, 0, 80])]));
}

const request = Buffer.from('GET / HTTP/1.1\r\nHost: probe\r\n\r\n');

/** What the handler sees of a request: the peer's own address, and the one in the header. */
function seenOf(response: {
  getRemoteAddress(): ArrayBuffer;
  getProxiedRemoteAddress(): ArrayBuffer;
}): string {
  const own = Buffer.from(response.getRemoteAddress());
  const proxied = Buffer.from(response.getProxiedRemoteAddress());
  // A listener on all addresses has IPv4 in IPv6.
  return `${own.subarray(12).join('.')} proxied ${text(proxied)}`;
}

function text(address: Buffer): string {
  if (address.length === 0) return 'none';
  return address.length === 4 ? address.join('.') : address.toString('hex');
}

export async function probe(): Promise<ProbeResult> {
  const found = new Findings();
  /**
   * Sends each part when the one before was answered, and tells what was seen of each. Each has a
   * server of its own, so that those that are not answered wait for their end together.
   */
  const ask = async (...parts: Buffer[]): Promise<string> => {
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
    const client = new RawClient(port);
    for (const part of parts) {
      const bytes = client.receivedBytes;
      client.send(part);
      await until(() => client.receivedBytes > bytes || client.closed, 'an answer or the end');
    }
    const status = [...client.text().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => code);
    client.destroy();
    app.close();
    return `${seen.join(', ') || 'nothing'}; ${status.join(' ') || 'nothing'}`;
  };
  const with4 = Buffer.concat([proxied4('192.0.2.7'), request]);
  const block = proxied4('192.0.2.7').subarray(16);
  const asOne = (...parts: Buffer[]): Buffer => Buffer.concat(parts);
  const longer = (more: number): Buffer =>
    asOne(header(1, 0x11, asOne(block, Buffer.alloc(more, 1))), request);
  const upgrading = `GET /socket HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`;
  const none = '127.0.0.1 proxied none';
  const first = '127.0.0.1 proxied 192.0.2.7';
  const other = byBuild({ '20.51.4': '127.0.0.1 proxied 192.0.2.8', '20.69.0': first });
  const cases: [string, Buffer[], string][] = [
    ['no header', [request], `${none}; 200`],
    ['TCP over IPv4', [with4], `${first}; 200`],
    [
      'TCP over IPv6',
      [asOne(proxied6(), request)],
      '127.0.0.1 proxied 20010db8000000000000000000000001; 200',
    ],
    ['LOCAL without addresses', [asOne(header(0, 0, Buffer.alloc(0)), request)], `${none}; 200`],
    ['LOCAL with addresses', [asOne(header(0, 0x11, block), request)], `${first}; 200`],
    ['UDP over IPv4', [asOne(header(1, 0x12, block), request)], `${first}; 200`],
    [
      'a block of 4 bytes',
      [asOne(header(1, 0x11, block.subarray(0, 4)), request)],
      `${first}; 200`,
    ],
    ['24 bytes (TLVs) behind the addresses', [longer(24)], `${first}; 200`],
    ['25 bytes behind the addresses', [longer(25)], 'nothing; nothing'],
    ['a unix socket', [asOne(header(1, 0x31, Buffer.alloc(216, 97)), request)], 'nothing; nothing'],
    [
      'version 1',
      [asOne(Buffer.from('PROXY TCP4 192.0.2.7 203.0.113.9 12345 80\r\n'), request)],
      'nothing; 505',
    ],
    ['a second request without a header', [with4, request], `${first}, ${first}; 200 200`],
    [
      'a second request with another header',
      [with4, asOne(proxied4('192.0.2.8'), request)],
      `${first}, ${other}; 200 200`,
    ],
    [
      '… in the same segment',
      [asOne(with4, proxied4('192.0.2.8'), request)],
      `${first}, ${other}; 200 200`,
    ],
    ['a header only with the second request', [request, with4], `${none}, ${first}; 200 200`],
    ['a WebSocket', [asOne(proxied4('192.0.2.7'), Buffer.from(upgrading))], `${first}; 101`],
  ];
  const answers = await Promise.all(cases.map(([, parts]) => ask(...parts)));
  for (const [i, [name, , wanted]] of cases.entries()) found.add(name, answers[i]!, wanted);
  return {
    claim:
      'A PROXY protocol v2 header in front of any request is read from anybody: getProxiedRemoteAddress gives its address, getRemoteAddress stays the peer. 20.51.4 takes every later one instead, 20.69.0 keeps the first. Blocks over 36 bytes close, version 1 is 505.',
    holds: found.holds,
    rows: found.rows,
  };
}

await main(import.meta.url, probe);
