// What JavaScript is told of a message that has begun and does not end, and whether a WebSocket can
// be made to wait.
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
import type { ProbeResult, WebSocket } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  const told: string[] = [];
  const sockets: WebSocket<unknown>[] = [];
  const { port } = await listen(
    uWS.App().ws('/*', {
      maxPayloadLength: 100_000,
      idleTimeout: 0,
      upgrade: (response, request, context) => upgrade(response, request, context, {}),
      open: (socket) => void sockets.push(socket),
      message: (_socket, message) => void told.push(`message ${String(message.byteLength)} B`),
      ping: () => void told.push('ping'),
      pong: () => void told.push('pong'),
      drain: () => void told.push('drain'),
      close: () => void told.push('close'),
    }),
  );
  const opened = async (): Promise<RawClient> => {
    told.length = 0;
    const client = new RawClient(port).get('/', upgradeHeaders);
    await until(() => client.text().includes('\r\n\r\n'), 'the handshake');
    return client;
  };
  const gone = async (client: RawClient): Promise<void> => {
    client.destroy();
    await until(() => told.includes('close'), 'its close');
  };
  const pongs = (client: RawClient): number =>
    describeFrames(afterHead(client)).split('pong').length - 1;

  const fragments = await opened();
  for (let i = 0; i < 50; i++) fragments.send(clientFrame(i === 0 ? 0x01 : 0x00, 'a'.repeat(1000)));
  fragments.send(clientFrame(0x89, 'p'));
  await until(() => pongs(fragments) === 1, 'the pong');
  findings.add('50 fragments without a last one, then a ping: handlers', told.join(), 'ping');
  const socket = sockets.at(-1)!;
  findings.add('… getBufferedAmount()', socket.getBufferedAmount(), 0);
  fragments.send(clientFrame(0x8a, 'p')).send(clientFrame(0x80, 'z'));
  await until(() => told.includes('message 50001 B'), 'the message');
  findings.add('… then its last fragment: handlers', told.join(), 'ping,pong,message 50001 B');
  await gone(fragments);

  const frame = await opened();
  frame.send(clientFrame(0x81, 'a'.repeat(1000)).subarray(0, 500)).send(clientFrame(0x89, 'p'));
  for (let i = 0; i < 20; i++) await turn();
  findings.add('half a frame, then a ping, which is its payload: handlers', told.join(), '');
  findings.add('… pongs', pongs(frame), 0);
  await gone(frame);

  const empty = await opened();
  empty.send(
    Buffer.concat(Array.from({ length: 1000 }, (_, i) => clientFrame(i === 0 ? 0x01 : 0x00, ''))),
  );
  empty.send(clientFrame(0x89, 'p'));
  await until(() => pongs(empty) === 1, 'the pong');
  findings.add('1,000 empty fragments, then a ping: handlers', told.join(), 'ping');
  await gone(empty);

  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(socket) as object);
  findings.add(
    'a WebSocket has pause() or resume()',
    methods.includes('pause') || methods.includes('resume'),
    false,
  );
  return {
    claim:
      'No handler hears that a message has begun, however much of it has come; pings and pongs between its fragments are reported and answered as usual; a WebSocket cannot be paused.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
