// What res.upgrade() does: the 101, the open handler, the ws object, upgrading later, and what
// app.filter is told.
import { SendLog } from './send-log.js';
import {
  afterHead,
  clientFrame,
  describeFrames,
  Findings,
  listen,
  main,
  RawClient,
  runScript,
  turn,
  until,
  upgrade,
  upgradeHeaders,
  uWS,
  uwsPackage,
} from './support.js';
import type { ProbeResult, WebSocket } from './support.js';

class Data {
  readonly row = 7;
  readonly nested = { a: 1 };
  get double(): number {
    return this.row * 2;
  }
}

const statusOf = (client: RawClient): string => client.text().split('\r\n')[0] ?? '';
const headerOf = (client: RawClient): string =>
  /Holdline-Position: (\d+)/.exec(client.text())?.[1] ?? 'none';

/** A child, as what it does ends the process. */
async function endOfProcess(handler: string): Promise<string> {
  const { signal } = await runScript(`
    import { connect } from 'node:net';
    import * as uWS from '${uwsPackage}';
    const app = uWS.App().ws('/*', { upgrade: (response, request, context) => { ${handler} } });
    app.listen(0, (socket) => {
      const client = connect(uWS.us_socket_local_port(socket), '127.0.0.1');
      client.on('data', () => process.exit(0)).on('close', () => process.exit(0)).on('error', () => {});
      client.write(${JSON.stringify(`GET / HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`)});
    });
  `);
  return signal ?? 'the process lives';
}

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const findings = new Findings();
  const data = new Data();
  let ws: (WebSocket<Data> & Partial<Data>) | undefined;
  let opened = false;
  let openInside = false;
  let afterwards = '';
  let aborted = 0;
  let messages = 0;
  let filtered: number[] = [];
  let later: (() => void) | undefined;
  const handlers = {
    open: (one: WebSocket<Data>): void => {
      ws = one as typeof ws;
      opened = true;
      one.send('first');
    },
    message: (): void => void messages++,
    close: (): void => void (opened = false),
  };
  const { port } = await listen(
    uWS
      .App()
      .filter((_response, change) => void filtered.push(Number(change)))
      .ws<Data>('/now', {
        ...handlers,
        upgrade: (response, request, context) => {
          response.writeStatus('101 Switching Protocols').writeHeader('Holdline-Position', '5');
          opened = false;
          upgrade(response, request, context, data);
          openInside = opened;
          try {
            response.writeHeader('A', 'b');
            afterwards = 'may be used';
          } catch {
            afterwards = 'throws';
          }
        },
      })
      .ws<Data>('/no-status', {
        ...handlers,
        upgrade: (response, request, context) => {
          response.writeHeader('Holdline-Position', '5');
          upgrade(response, request, context, data);
        },
      })
      .ws<Data>('/later', {
        ...handlers,
        upgrade: (response, request, context) => {
          const key = request.getHeader('sec-websocket-key');
          response.onAborted(() => aborted++);
          later = () =>
            setImmediate(() => {
              try {
                response.cork(() => {
                  response
                    .writeStatus('101 Switching Protocols')
                    .writeHeader('Holdline-Position', '6');
                  response.upgrade(data, key, '', '', context);
                });
                afterwards = 'upgraded';
              } catch {
                afterwards = 'throws';
              }
            });
        },
      }),
  );

  const connect = async (
    path: string,
    isEnough: (client: RawClient) => boolean,
    behind = '',
  ): Promise<RawClient> => {
    ws = undefined;
    afterwards = '';
    aborted = 0;
    messages = 0;
    filtered = [];
    later = undefined;
    const head = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`);
    const client = new RawClient(port).send(
      Buffer.concat([head, behind === '' ? Buffer.alloc(0) : clientFrame(0x81, behind)]),
    );
    await until(() => isEnough(client), path);
    return client;
  };
  const hasFirst = (client: RawClient): boolean => afterHead(client).length > 0;
  const leave = async (client: RawClient): Promise<void> => {
    client.destroy();
    await until(() => !opened, 'the close handler');
    for (let at = 0; at < 10; at++) await turn();
  };

  // 1. In the handler.
  let mark = log.count;
  const now = await connect('/now', hasFirst);
  findings.add(
    'writeStatus(101), writeHeader, upgrade: status line',
    statusOf(now),
    'HTTP/1.1 101 Switching Protocols',
  );
  findings.add('… the header', headerOf(now), '5');
  findings.add('… send() calls for the 101 and a ws.send() in open', log.since(mark).length, 1);
  findings.add('open runs inside upgrade()', openInside, true);
  findings.add('response after upgrade()', afterwards, 'throws');
  findings.add('own properties of ws', Object.keys(ws ?? {}).join(), 'row,nested');
  findings.add('ws is the object that was passed', (ws as unknown) === data, false);
  findings.add('ws.nested is the one that was passed', ws?.nested === data.nested, true);
  findings.add('ws.double, a getter of the class', String(ws?.double), 'undefined');
  findings.add('ws.getUserData() is ws', (ws?.getUserData() as unknown) === ws, true);
  await leave(now);
  findings.add('app.filter, until client and ws were gone', filtered.join(), '1');

  // 2. A header before the status.
  const noStatus = await connect('/no-status', hasFirst);
  findings.add(
    'writeHeader without writeStatus, upgrade: status line',
    statusOf(noStatus),
    'HTTP/1.1 200 OK',
  );
  await leave(noStatus);

  // 3. Later.
  mark = log.count;
  const waited = await connect('/later', () => later !== undefined);
  later?.();
  await until(() => hasFirst(waited), 'the later 101');
  findings.add(
    'upgrade() in a later turn, corked: status line',
    statusOf(waited),
    'HTTP/1.1 101 Switching Protocols',
  );
  findings.add('… the header', headerOf(waited), '6');
  findings.add('… send() calls for the 101 and a ws.send() in open', log.since(mark).length, 1);
  await leave(waited);
  findings.add('… onAborted, until client and ws were gone', aborted, 0);
  findings.add('… app.filter, until client and ws were gone', filtered.join(), '1');
  const gone = await connect('/later', () => later !== undefined);
  gone.destroy();
  await until(() => aborted > 0, 'onAborted');
  later?.();
  await until(() => afterwards !== '', 'the late upgrade');
  findings.add(
    'client gone before: onAborted, then upgrade()',
    `${String(aborted)}, ${afterwards}`,
    '1, throws',
  );
  findings.add('… app.filter', filtered.join(), '1,-1');

  // 4. A frame that comes too early.
  const early = await connect('/now', hasFirst, 'lost');
  early.send(clientFrame(0x89, 'p'));
  await until(() => describeFrames(afterHead(early)).includes('pong'), 'the pong');
  findings.add(
    'a message in the segment of the handshake',
    `messages ${String(messages)}`,
    'messages 0',
  );
  await leave(early);
  const whilePending = await connect('/later', (client) => client.closed, 'a second request');
  findings.add(
    '… while upgrade() waits: onAborted, closed',
    `${String(aborted)}, ${String(whilePending.closed)}`,
    '1, true',
  );

  // 5. What ends the process, last: the children write into the same log.
  const passing = (value: string): string =>
    `response.upgrade(${value}, request.getHeader('sec-websocket-key'), '', '', context)`;
  const [withUndefined, withNull, unanswered, withObject] = await Promise.all(
    [passing('undefined'), passing('null'), '', passing('{}')].map(async (handler) =>
      endOfProcess(handler),
    ),
  );
  findings.add('upgrade(undefined, …)', withUndefined ?? '', 'SIGABRT');
  findings.add('upgrade(null, …)', withNull ?? '', 'SIGABRT');
  findings.add(
    'upgrade handler that returns without answer and onAborted',
    unanswered ?? '',
    'SIGABRT',
  );
  findings.add('upgrade({}, …)', withObject ?? '', 'the process lives');
  return {
    claim:
      'open runs inside upgrade(), with a new object that has the data’s own properties; a header needs writeStatus(101) first; app.filter never hears of an upgraded socket’s end.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
