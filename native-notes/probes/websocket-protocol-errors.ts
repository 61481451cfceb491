// What a WebSocket client sees, and what our handlers are given, for frames that RFC 6455 forbids,
// for good ones beside them, and for closes.
import {
  Findings,
  RawClient,
  afterHead,
  clientFrame,
  describeFrames,
  listen,
  main,
  turn,
  uWS,
  until,
  upgrade,
  upgradeHeaders,
} from './support.js';
import type { ProbeResult } from './support.js';

const ping = 0x89;
const tooBig = 'close 1006 "Received too big message"; FIN';
const invalid = 'close 1006 "Received invalid WebSocket frame"; FIN';
const notUtf8 = 'close 1006 "Received invalid UTF-8"; FIN';
const badClose = 'close 1006 "Received invalid close payload"; close; FIN';
const a = (length: number): string => 'a'.repeat(length);

/**
 * What is sent, and what comes of it: the handlers' calls; the frames the client got; FIN if it was
 * closed. maxPayloadLength is 1,000.
 */
const cases: [name: string, frames: Buffer[], seen: string][] = [
  ['text of 1,000 B', [clientFrame(0x81, a(1000))], 'message 1000 B'],
  ['text of 1,001 B, its header alone', [clientFrame(0x81, '', 1001)], tooBig],
  ['fragments 600 + 400', [clientFrame(0x01, a(600)), clientFrame(0x80, a(400))], 'message 1000 B'],
  ['fragments 600 + 401', [clientFrame(0x01, a(600)), clientFrame(0x80, a(401))], tooBig],
  [
    'fragments 600 + the header of 401',
    [clientFrame(0x01, a(600)), clientFrame(0x80, '', 401)],
    '',
  ],
  ['empty text', [clientFrame(0x81, '')], 'message ""'],
  ['binary ff', [clientFrame(0x82, '\xff')], 'binary message "ÿ"'],
  ['text ff', [clientFrame(0x81, 'a\xff')], notUtf8],
  ['text with a surrogate', [clientFrame(0x81, '\xed\xa0\x80')], notUtf8],
  [
    'character cut by fragments',
    [clientFrame(0x01, '\xc3'), clientFrame(0x80, '\xa9')],
    'message "Ã©"',
  ],
  [
    'good text, then opcode 3',
    [clientFrame(0x81, 'good'), clientFrame(0x83, 'x')],
    `message "good"; ${invalid}`,
  ],
  ['reserved bit', [clientFrame(0xc1, 'x')], invalid],
  ['opcode 11', [clientFrame(0x8b, 'x')], invalid],
  ['continuation of nothing', [clientFrame(0x80, 'x')], invalid],
  ['text inside fragments', [clientFrame(0x01, 'x'), clientFrame(0x81, 'y')], invalid],
  [
    'ping inside fragments',
    [clientFrame(0x01, 'x'), clientFrame(ping, 'p'), clientFrame(0x80, 'y')],
    'ping "p"; message "xy"; pong "p"',
  ],
  ['ping of 125 B', [clientFrame(ping, a(125))], 'ping 125 B; pong 125 B'],
  ['ping of 126 B', [clientFrame(ping, a(126))], invalid],
  ['fragmented ping', [clientFrame(0x09, 'p')], invalid],
  ['pong nobody asked for', [clientFrame(0x8a, 'p')], 'pong "p"'],
  ['text not masked, 2 B', [Buffer.from([0x81, 2, 0x68, 0x69])], ''],
  [
    'text not masked, 6 B',
    [Buffer.from([0x81, 6, 1, 1, 1, 1, 0x60, 0x60, 0x60, 0x60, 0x60, 0x60])],
    'message "aaaaaa"',
  ],
  [
    'close 1000 bye, then a text',
    [clientFrame(0x88, '\x03\xe8bye'), clientFrame(0x81, 'late')],
    'close 1000 "bye"; close 1000 "bye"; FIN',
  ],
  ['close 4000', [clientFrame(0x88, '\x0f\xa0')], 'close 4000 ""; close 4000 ""; FIN'],
  ['close 1011', [clientFrame(0x88, '\x03\xf3')], 'close 1011 ""; close 1011 ""; FIN'],
  ['close 1012', [clientFrame(0x88, '\x03\xf4')], badClose],
  ['close 3000', [clientFrame(0x88, '\x0b\xb8')], badClose],
  ['close 3999', [clientFrame(0x88, '\x0f\x9f')], badClose],
  ['close without a code', [clientFrame(0x88, '')], 'close 1005 ""; close; FIN'],
  ['close 999', [clientFrame(0x88, '\x03\xe7')], badClose],
  ['close 1004', [clientFrame(0x88, '\x03\xec')], badClose],
  ['close 1005', [clientFrame(0x88, '\x03\xed')], badClose],
  ['close 1006', [clientFrame(0x88, '\x03\xee')], badClose],
  ['close 1007', [clientFrame(0x88, '\x03\xef')], 'close 1007 ""; close 1007 ""; FIN'],
  ['close 4999', [clientFrame(0x88, '\x13\x87')], 'close 4999 ""; close 4999 ""; FIN'],
  ['close 5000', [clientFrame(0x88, '\x13\x88')], badClose],
  ['close 1000 with ff', [clientFrame(0x88, '\x03\xe8\xff')], badClose],
];

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let events: string[] = [];
  let opened = 0;
  let kept: ArrayBuffer | undefined;
  const show = (bytes: ArrayBuffer): string =>
    bytes.byteLength > 60
      ? `${String(bytes.byteLength)} B`
      : JSON.stringify(Buffer.from(bytes).toString('latin1'));
  const { port } = await listen(
    uWS.App().ws<object>('/*', {
      maxPayloadLength: 1000,
      idleTimeout: 0,
      upgrade: (response, request, context) => upgrade(response, request, context, {}),
      open: () => void opened++,
      message: (_ws, message, isBinary) => {
        kept = message;
        events.push(`${isBinary ? 'binary ' : ''}message ${show(message)}`);
      },
      ping: (_ws, message) => void events.push(`ping ${show(message)}`),
      pong: (_ws, message) => void events.push(`pong ${show(message)}`),
      close: (_ws, code, message) => void events.push(`close ${String(code)} ${show(message)}`),
    }),
  );
  const connect = async (): Promise<RawClient> => {
    events = [];
    const before = opened;
    const client = new RawClient(port).get('/', upgradeHeaders);
    await until(() => opened > before && client.receivedBytes > 0, 'the ws');
    return client;
  };
  for (const [name, frames, wanted] of cases) {
    const client = await connect();
    client.send(Buffer.concat(frames));
    const seen = (): string =>
      [...events, describeFrames(afterHead(client)), client.closed ? 'FIN' : '']
        .filter((text) => text !== '')
        .join('; ');
    // What must not come is given as long as ten turns; what must come, as long as it takes.
    for (let at = 0; at < 10; at++) await turn();
    await until(() => seen() === wanted, name, 2000).catch(() => {});
    findings.add(name, seen(), wanted);
    client.destroy();
    await until(() => client.closed, 'the client to close');
  }
  for (const [name, leave, wanted] of [
    [
      'FIN without a close frame',
      (client: RawClient) => void client.socket.end(),
      'close 1006 "Received TCP FIN before WebSocket close frame"',
    ],
    ['RST', (client: RawClient) => void client.socket.resetAndDestroy(), 'close 1006 ""'],
  ] as const) {
    const client = await connect();
    leave(client);
    await until(() => events.length > 0, name);
    findings.add(name, events.join('; '), wanted);
    client.destroy();
  }
  findings.add(
    'any message: its ArrayBuffer after the handler',
    `${String(kept?.byteLength)} B`,
    '0 B',
  );
  return {
    claim:
      'A forbidden frame ends the connection with a bare FIN (1006 at the client) and close(1006, reason) here, a too large one at its header; pings are answered natively; unmasked frames are not refused.',
    holds: findings.holds,
    rows: findings.rows.map((row) => ({
      'client sends': row['case'] ?? '',
      'handlers; client gets': row['seen'] === '' ? 'nothing yet' : (row['seen'] ?? ''),
    })),
  };
}

await main(import.meta.url, probe);
