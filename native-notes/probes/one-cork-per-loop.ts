// Where other.cork() really corks: not while a request or data callback runs, nor in its
// microtasks; setImmediate, timers and ports are fine.
import { MessageChannel } from 'node:worker_threads';
import { SendLog } from './send-log.js';
import { RawClient, listen, main, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  const held: HttpResponse[] = [];
  const data = Buffer.alloc(256, 97);
  const counts = new Map<string, number>();
  const { port1, port2 } = new MessageChannel();

  const fanOut = (place: string): void => {
    const other = held[0] as HttpResponse;
    const mark = log.count;
    other.cork(() => other.write(data));
    const sends = log.since(mark);
    counts.set(place, sends.length);
    rows.push({
      'other.cork(write) called': place,
      'send() calls': sends.length,
      'bytes of each': sends.map((send) => send.asked).join(' + '),
    });
  };
  port2.on('message', () => fanOut('in a MessagePort message'));

  const app = uWS
    .App()
    .get('/held', (response) => {
      held.push(response);
      response.onAborted(() => {});
      response.write('x');
    })
    .get('/handler', (response) => {
      fanOut('in a request handler');
      response.end('ok');
    })
    .get('/cork', (response) => {
      response.onAborted(() => {});
      setImmediate(() => {
        response.cork(() => {
          fanOut('in another response’s cork');
          response.end('ok');
        });
      });
    })
    .get('/microtask', (response) => {
      response.end('ok');
      void Promise.resolve()
        .then(() => {})
        .then(() => fanOut('in a microtask of a request handler'));
    })
    .get('/tick', (response) => {
      response.end('ok');
      process.nextTick(() => fanOut('in nextTick of a request handler'));
    })
    .post('/data', (response) => {
      response.onAborted(() => {});
      response.onData((_chunk, isLast) => {
        if (!isLast) return;
        fanOut('in an onData callback');
        response.end('ok');
      });
    })
    .get('/immediate', (response) => {
      response.end('ok');
      setImmediate(() => fanOut('in setImmediate'));
    })
    .get('/timer', (response) => {
      response.end('ok');
      setTimeout(() => fanOut('in setTimeout'), 0);
    })
    .get('/port', (response) => {
      response.end('ok');
      port1.postMessage(0);
    })
    .get('/aborted', (response) => {
      response.onAborted(() => fanOut('in onAborted after the client left'));
      response.write('x');
    })
    .get('/second', (response) => {
      response.onAborted(() => fanOut('in onAborted after a second request'));
      response.write('x');
    })
    .get('/writable', (response) => {
      response
        .onAborted(() => {})
        .onWritable(() => {
          if (!counts.has('in onWritable')) fanOut('in onWritable');
          return true;
        });
      response.write('x');
      // A refused send() asks for the writable event.
      setImmediate(() => {
        log.setBudget(0);
        response.cork(() => response.write('y'));
        log.setBudget(-1);
      });
    });
  const { port } = await listen(app);
  const line = new RawClient(port).get('/held');
  await until(() => line.receivedBytes > 0, 'the other line');

  const visits: [string, (client: RawClient) => void][] = [
    ['in a request handler', (client) => client.get('/handler')],
    ['in a microtask of a request handler', (client) => client.get('/microtask')],
    ['in nextTick of a request handler', (client) => client.get('/tick')],
    [
      'in an onData callback',
      (client) => client.send('POST /data HTTP/1.1\r\nHost: probe\r\nContent-Length: 1\r\n\r\nx'),
    ],
    ['in another response’s cork', (client) => client.get('/cork')],
    ['in onAborted after a second request', (client) => client.get('/second').get('/second')],
    ['in onAborted after the client left', (client) => client.get('/aborted').socket.end()],
    ['in onWritable', (client) => client.get('/writable')],
    ['in setImmediate', (client) => client.get('/immediate')],
    ['in setTimeout', (client) => client.get('/timer')],
    ['in a MessagePort message', (client) => client.get('/port')],
  ];
  for (const [place, visit] of visits) {
    const client = new RawClient(port);
    visit(client);
    await until(() => counts.has(place), place);
    client.destroy();
  }
  port1.close();
  const four = [
    'in a request handler',
    'in a microtask of a request handler',
    'in nextTick of a request handler',
    'in an onData callback',
    'in another response’s cork',
  ];
  const one = [
    'in onWritable',
    'in setImmediate',
    'in setTimeout',
    'in a MessagePort message',
    'in onAborted after the client left',
  ];
  return {
    claim:
      'One socket per loop can be corked: in a request or data callback, its microtasks and ticks, or inside another cork, other.cork() runs uncorked (four sends, no warning).',
    holds:
      four.every((place) => counts.get(place) === 4) &&
      one.every((place) => counts.get(place) === 1),
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
