// What ws.end(), ws.close() and app.close() deliver, when the close handler runs, and what may be
// used after it.
import { SendLog, describeSends } from './send-log.js';
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
  upgradeHeaders,
} from './support.js';
import type { ProbeResult, WebSocket } from './support.js';

type Ws = WebSocket<{ row: number }> & { row?: number };

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const findings = new Findings();
  let ws: Ws | undefined;
  let events: string[] = [];
  let onMessage: (ws: Ws) => void = () => {};
  let onClose: (ws: Ws) => void = () => {};
  const { app, port } = await listen(
    uWS.App().ws<{ row: number }>('/*', {
      maxBackpressure: 0,
      idleTimeout: 120,
      upgrade: (response, request, context) => {
        const path = request.getUrl();
        const key = request.getHeader('sec-websocket-key');
        const run = (): void =>
          void response.cork(() =>
            response.upgrade({ row: path.startsWith('/end') ? 6 : 5 }, key, '', '', context),
          );
        response.onAborted(() => {});
        if (path === '/end/microtask') void Promise.resolve().then(run);
        else if (path === '/end/turn') setImmediate(run);
        else run();
      },
      open: (opened: Ws) => {
        ws = opened;
        if (opened.row !== 6) return;
        opened.send('no');
        opened.end(1013);
      },
      message: (opened) => onMessage(opened),
      drain: () => void events.push('drain'),
      close: (closed, code, message) => {
        const reason =
          message.byteLength > 20
            ? `${String(message.byteLength)} B`
            : JSON.stringify(Buffer.from(message).toString());
        events.push(`close(${String(code)}, ${reason})`);
        onClose(closed);
      },
    }),
  );
  const open = async (): Promise<[client: RawClient, ws: Ws]> => {
    ws = undefined;
    const client = new RawClient(port).get('/', upgradeHeaders);
    await until(() => ws !== undefined && client.receivedBytes > 0, 'the ws');
    events = [];
    return [client, ws as unknown as Ws];
  };
  const tell = (client: RawClient): string =>
    [describeFrames(afterHead(client)), client.closed ? 'FIN' : '']
      .filter((text) => text !== '')
      .join(', ');
  const throwsAt = (run: () => unknown): string => {
    try {
      run();
      return 'works';
    } catch {
      return 'throws';
    }
  };
  /**
   * Runs one way to end, and tells what the client got, the calls, and the events that came inside.
   */
  const ending = async (
    name: string,
    run: (ws: Ws) => void,
    wanted: { client: string; inside: string; calls?: string },
  ): Promise<Ws> => {
    const [client, one] = await open();
    const mark = log.count;
    run(one);
    findings.add(`${name}: events inside the call`, events.join(' '), wanted.inside);
    await until(() => tell(client) === wanted.client, name, 2000).catch(() => {});
    findings.add('… client got', tell(client), wanted.client);
    if (wanted.calls !== undefined)
      findings.add('… system calls', describeSends(log.since(mark)), wanted.calls);
    client.destroy();
    return one;
  };

  // 1. With nothing buffered.
  const ended = await ending(
    `send('last'); end(1009, 'x')`,
    (one) => {
      one.send('last');
      one.end(1009, 'x');
    },
    { inside: 'close(1009, "x")', client: 'text "last", close 1009 "x", FIN', calls: '6→6 5→5' },
  );
  findings.add(
    '… then send(), getBufferedAmount(), end(), cork()',
    ['send', 'getBufferedAmount', 'end', 'cork']
      .map((name) =>
        throwsAt(() =>
          (ended as unknown as Record<string, (argument: unknown) => unknown>)[name]?.(() => {}),
        ),
      )
      .join(),
    'throws,throws,throws,throws',
  );
  findings.add(
    '… then ws.row, ws.getUserData().row',
    `${String(ended.row)}, ${String(ended.getUserData().row)}`,
    '5, 5',
  );
  await ending('end()', (one) => one.end(), { inside: 'close(0, "")', client: 'close, FIN' });
  await ending(`end(1000, 200 characters)`, (one) => one.end(1000, 'y'.repeat(200)), {
    inside: 'close(1000, 200 B)',
    client: 'close 1000 123 B, FIN',
  });
  await ending('close()', (one) => one.close(), { inside: 'close(1006, "")', client: 'FIN' });
  await ending(
    'ws.cork(send), then end(1000)',
    (one) => one.cork(() => void one.send('last')).end(1000),
    {
      inside: 'close(1000, "")',
      client: 'text "last", close 1000 "", FIN',
    },
  );

  // 2. In ws.cork(): no FIN, whatever the client does.
  {
    const [client, one] = await open();
    one.cork(() => {
      one.send('last');
      one.end(1000);
    });
    await until(() => describeFrames(afterHead(client)).includes('close'), 'the close frame');
    client.send(clientFrame(0x88, '\x03\xe8'));
    for (let at = 0; at < 50; at++) await turn();
    findings.add(
      'ws.cork(send, end(1000)), echoed by the client: client got',
      tell(client),
      'text "last", close 1000 ""',
    );
    client.socket.end();
    await until(() => client.closed, 'the close after the FIN');
    findings.add('… and after the client’s FIN: closed', client.closed, true);
  }

  // 3. In handlers.
  {
    let used = '';
    onMessage = (one) => {
      one.send('answer');
      one.end(1008);
      used = throwsAt(() => one.send('x'));
    };
    const [client] = await open();
    const mark = log.count;
    client.send(Buffer.concat([clientFrame(0x81, 'a'), clientFrame(0x81, 'b')]));
    await until(() => client.closed, 'the end from the handler');
    findings.add(
      'send, end(1008) in the first of two message handlers',
      events.join(' '),
      'close(1008, "")',
    );
    findings.add('… client got', tell(client), 'text "answer", close 1008 "", FIN');
    findings.add('… system calls', describeSends(log.since(mark)), '12→12');
    findings.add('… another send() in the handler', used, 'throws');
    onMessage = (one) => {
      one.send('answer');
      one.close();
    };
    const [other] = await open();
    other.send(clientFrame(0x81, 'a'));
    await until(() => other.closed, 'the close from the handler');
    findings.add('send, close() in a message handler: client got', tell(other), 'FIN');
    onMessage = () => {};

    let inside = '';
    onClose = (one) =>
      (inside = `send() ${throwsAt(() => one.send('x'))}, getBufferedAmount() ${throwsAt(() => one.getBufferedAmount())}, row ${String(one.row)}`);
    const [gone] = await open();
    gone.send(clientFrame(0x88, '\x03\xe8'));
    await until(() => gone.closed, 'the echo');
    findings.add(
      'in the close handler',
      inside,
      'send() throws, getBufferedAmount() throws, row 5',
    );
    onClose = () => {};
  }

  // 4. In open: no FIN where upgrade() was called in a later turn, in res.cork().
  for (const [path, when, got] of [
    ['/end', 'in the upgrade handler', 'text "no", close 1013 "", FIN'],
    ['/end/microtask', 'in a microtask of it', 'text "no", close 1013 "", FIN'],
    ['/end/turn', 'in a later turn', 'text "no", close 1013 ""'],
  ] as const) {
    const client = new RawClient(port).get(path, upgradeHeaders);
    await until(() => describeFrames(afterHead(client)).includes('close'), 'the close frame');
    await until(() => tell(client) === got, path, 2000).catch(() => {});
    for (let at = 0; at < 20; at++) await turn();
    findings.add(`send, end(1013) in open, upgrade() ${when}: client got`, tell(client), got);
    client.destroy();
  }

  // 5. With a backlog.
  const stall = async (): Promise<[client: RawClient, ws: Ws]> => {
    const [client, one] = await open();
    log.setBudget(0);
    one.send('a'.repeat(30_000));
    return [client, one];
  };
  {
    const [client, one] = await stall();
    one.end(1013, 'slow');
    log.setBudget(10_000);
    await until(() => client.receivedBytes > 10_000, 'a part');
    log.setBudget(-1);
    await until(() => client.closed, 'the end');
    findings.add(
      'end(1013) with 30,004 B buffered: client got',
      tell(client),
      'text 30000 B, close 1013 "slow", FIN',
    );
    findings.add('… events', events.join(' '), 'close(1013, "slow")');
  }
  {
    const [client, one] = await stall();
    one.close();
    log.setBudget(-1);
    await until(() => client.closed, 'the end');
    findings.add('close() with 30,004 B buffered: client got', tell(client), 'FIN');
  }

  // 6. The app. A socket that was ended before and is still there has had its close handler.
  const [still, endedBefore] = await open();
  endedBefore.cork(() => endedBefore.end(1000));
  const [client] = await open();
  app.close();
  findings.add(
    'app.close() with one open and one ended: events inside the call',
    events.join(' '),
    'close(1006, "")',
  );
  await until(() => client.closed, 'the end');
  findings.add('… client got', tell(client), 'FIN');
  await until(() => still.closed, 'the end of the other');
  findings.add('… events later', events.join(' '), 'close(1006, "")');
  return {
    claim:
      'end() delivers backlog, close frame and FIN, and runs the close handler inside the call, after which ws throws; inside ws.cork() no FIN follows; close() and app.close() drop what is buffered.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
