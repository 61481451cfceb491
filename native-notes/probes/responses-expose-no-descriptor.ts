// What a response and a WebSocket tell of their socket: everything that can be called on them, and
// what it answers on a connection whose ends are known.
import {
  Findings,
  RawClient,
  byBuild,
  listen,
  main,
  uWS,
  until,
  upgrade,
  upgradeHeaders,
} from './support.js';
import type { HttpResponse, ProbeResult, WebSocket } from './support.js';

/** Names of methods that would tell which socket it is, or how much of it is unsent. */
const telling = /descriptor|fd|handle|port|buffered|amount/i;

const methodsOf = (held: object): string[] =>
  Object.getOwnPropertyNames(Object.getPrototypeOf(held)).filter(
    (name) => name !== 'constructor' && name !== 'upgrade',
  );

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let response: HttpResponse | undefined;
  let ws: WebSocket<object> | undefined;
  const { port } = await listen(
    uWS
      .App()
      .ws<object>('/ws', {
        upgrade: (res, request, context) => upgrade(res, request, context, {}),
        open: (one) => void (ws = one),
      })
      .get('/*', (res) => {
        response = res;
        res.onAborted(() => {});
        res.write('x');
      }),
  );
  const stream = new RawClient(port, { localAddress: '127.0.0.9' }).get('/');
  const messages = new RawClient(port, { localAddress: '127.0.0.9' }).get('/ws', upgradeHeaders);
  await until(() => stream.receivedBytes > 0 && ws !== undefined, 'both to be open');
  const res = response as unknown as HttpResponse;
  const socket = ws as unknown as WebSocket<object>;
  const text = (address: ArrayBuffer): string => Buffer.from(address).toString();

  findings.add('response: own properties', Object.getOwnPropertyNames(res).join(' '), '');
  findings.add(
    'response: methods that tell of a descriptor, a port or unsent bytes',
    methodsOf(res)
      .filter((name) => telling.test(name))
      .join(' '),
    byBuild({ '20.51.4': '', '20.69.0': 'getRemotePort getProxiedRemotePort' }),
  );
  findings.add(
    'response: getRemoteAddressAsText()',
    text(res.getRemoteAddressAsText()),
    '0000:0000:0000:0000:0000:ffff:7f00:0009',
  );
  findings.add(
    'response: getProxiedRemoteAddressAsText()',
    text(res.getProxiedRemoteAddressAsText()),
    '',
  );
  res.cork(() => res.write(Buffer.alloc(10_000)));
  findings.add('response: getWriteOffset() after write() of 10,000 bytes', res.getWriteOffset(), 0);
  findings.add(
    'WebSocket: methods that tell of a descriptor, a port or unsent bytes',
    methodsOf(socket)
      .filter((name) => telling.test(name))
      .join(' '),
    byBuild({ '20.51.4': 'getBufferedAmount', '20.69.0': 'getBufferedAmount getRemotePort' }),
  );
  findings.add(
    'WebSocket: getRemoteAddressAsText()',
    text(socket.getRemoteAddressAsText()),
    byBuild({ '20.51.4': '0000:0000:0000:0000:0000:ffff:7f00:0009', '20.69.0': '' }),
  );
  stream.destroy();
  messages.destroy();
  return {
    claim:
      'A response gives the address of its client, but neither descriptor nor unsent bytes, and on 20.51.4 no port, so that no line can be matched to its row of /proc/net/tcp; a WebSocket also gives its unsent bytes.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
