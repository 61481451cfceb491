// What ws.send() answers, how many system calls it is, what `drain` tells, and whether bytes are
// ever lost. SEED replays the random part.
import { SendLog, describeSends } from './send-log.js';
import {
  RawClient,
  afterHead,
  clientFrame,
  listen,
  main,
  serverFrame,
  turn,
  uWS,
  until,
  upgrade,
  upgradeHeaders,
} from './support.js';
import type { ProbeResult, Row, WebSocket } from './support.js';

type Ws = WebSocket<object>;

const immediate = async (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  let holds = true;
  const sockets: Ws[] = [];
  let onMessage: (ws: Ws) => void = () => {};
  let onDrain: (ws: Ws) => void = () => {};
  const serve = async (): Promise<number> => {
    const app = uWS.App().ws<object>('/*', {
      maxBackpressure: 0,
      idleTimeout: 0,
      upgrade: (response, request, context) => upgrade(response, request, context, {}),
      open: (ws) => void sockets.push(ws),
      message: (ws) => onMessage(ws),
      drain: (ws) => onDrain(ws),
    });
    return (await listen(app)).port;
  };
  const connect = async (port: number, paused = false): Promise<[client: RawClient, ws: Ws]> => {
    const count = sockets.length;
    const client = new RawClient(port, { paused, readBytes: 4096 }).get('/', upgradeHeaders);
    await until(() => sockets.length > count, 'the ws');
    return [client, sockets[count] as Ws];
  };
  const scratch = Buffer.alloc(1_000_000, 97);
  const piece = (length: number): Buffer => scratch.subarray(0, length);

  // 1. System calls, outside every handler.
  {
    const [client, ws] = await connect(await serve());
    const forms: [name: string, run: () => number | undefined, calls: string][] = [
      ...[100, 16_376, 16_383, 16_384, 200_000, 1_000_000].map(
        (length): [string, () => number, string] => {
          const frame = length + (length < 126 ? 2 : length < 65_536 ? 4 : 10);
          const call = `${length < 16_384 ? '' : 'writev '}${String(frame)}→${String(frame)}`;
          return [`send(${length.toLocaleString('en')} B)`, () => ws.send(piece(length)), call];
        },
      ),
      [
        'three send(256 B)',
        () => [1, 2, 3].map(() => ws.send(piece(256))).at(-1),
        '260→260 260→260 260→260',
      ],
      [
        'the three in ws.cork()',
        () => void ws.cork(() => void [1, 2, 3].map(() => ws.send(piece(256)))),
        '780→780',
      ],
      [
        'three send(8,000 B) in ws.cork()',
        () => void ws.cork(() => void [1, 2, 3].map(() => ws.send(piece(8000)))),
        '24012→24012',
      ],
    ];
    for (const [name, run, calls] of forms) {
      await immediate();
      const mark = log.count;
      const answer = run();
      const seen = describeSends(log.since(mark));
      const buffered = ws.getBufferedAmount();
      rows.push({
        step: name,
        'send() answered': answer ?? '',
        'buffered before': 0,
        'buffered after': buffered,
        'system calls': seen,
      });
      // A reader that has fallen behind would make it two steps in one.
      holds &&= seen === calls && buffered === 0 && (answer ?? 1) === 1;
      const bytes = client.receivedBytes;
      await until(() => client.receivedBytes > bytes, 'the bytes');
      await turn();
    }
    client.destroy();
  }

  // 2. Step by step against a kernel that takes what the budget allows.
  {
    const port = await serve();
    const [client, ws] = await connect(port);
    const [otherClient, other] = await connect(port);
    const step = async (
      name: string,
      budget: number,
      run: () => number | undefined,
      answer: number | undefined,
      after: number,
    ): Promise<void> => {
      await immediate();
      const before = ws.getBufferedAmount();
      const mark = log.count;
      log.setBudget(budget);
      const answered = run();
      const calls = describeSends(log.since(mark));
      rows.push({
        step: name,
        'send() answered': answered ?? '',
        'buffered before': before,
        'buffered after': ws.getBufferedAmount(),
        'system calls': calls,
      });
      holds &&= answered === answer && ws.getBufferedAmount() === after;
      // Nothing may leave until the next step.
      log.setBudget(0);
    };
    const corked = (length: number): number => {
      let answer = -1;
      ws.cork(() => (answer = ws.send(piece(length))));
      return answer;
    };
    await step('send(8,000), kernel takes 6,000', 6000, () => ws.send(piece(8000)), 0, 2004);
    await step('send(100), kernel takes 1,000', 1000, () => ws.send(piece(100)), 0, 1106);
    await step('send(100), kernel takes nothing', 0, () => ws.send(piece(100)), 0, 1208);
    await step('send(20,000), kernel takes nothing', 0, () => ws.send(piece(20_000)), 0, 21_212);
    await step('send(100), kernel takes all', 1e9, () => ws.send(piece(100)), 1, 0);
    await step('send(20,000), kernel takes 6,000', 6000, () => ws.send(piece(20_000)), 0, 14_004);
    await step('send(100), kernel takes all', 1e9, () => ws.send(piece(100)), 1, 0);
    await step('ws.cork(send(8,000)), kernel takes 6,000', 6000, () => corked(8000), 1, 2004);
    await step('ws.cork(send(8,000)), kernel takes nothing', 0, () => corked(8000), 0, 10_008);

    // drain: only with progress, with what is left, not corked.
    let drains: string[] = [];
    let calls = '';
    onDrain = () => drains.push(String(ws.getBufferedAmount()));
    for (let at = 0; at < 20; at++) await turn();
    rows.push({
      step: '20 ms in which the kernel takes nothing',
      'drain calls, with left': drains.join(' ') || 'none',
      'buffered after': ws.getBufferedAmount(),
    });
    holds &&= drains.length === 0;
    drains = [];
    log.setBudget(4000);
    await until(() => ws.getBufferedAmount() === 6008, 'the first 4,000');
    await turn(5);
    onDrain = () => {
      drains.push(String(ws.getBufferedAmount()));
      const mark = log.count;
      ws.send('a');
      ws.send('b');
      calls = describeSends(log.since(mark));
    };
    log.setBudget(-1);
    await until(() => ws.getBufferedAmount() === 0 && calls !== '', 'the rest');
    await turn(5);
    rows.push({
      step: 'kernel takes 4,000, then all; two send(1) in the last drain',
      'drain calls, with left': drains.join(' '),
      'buffered after': ws.getBufferedAmount(),
      'system calls': calls,
    });
    holds &&= drains.at(0) === '6008' && drains.at(-1) === '0' && calls === '3→3 3→3';
    onDrain = () => {};

    // A message handler has its own socket corked, and no other.
    let mark = 0;
    let inside = '';
    onMessage = () => {
      mark = log.count;
      ws.send('1');
      ws.send('2');
      const own = log.count - mark;
      other.send('three');
      other.cork(() => {
        other.send('four');
        other.send('fives');
      });
      inside = `own ${String(own)}, other ${describeSends(log.since(mark))}`;
    };
    client.send(clientFrame(0x81, 'go'));
    await until(() => inside !== '' && log.count >= mark + 4, 'the message');
    const after = describeSends(log.since(mark + 3));
    rows.push({
      step: 'message handler: two own sends; one to another, two in other.cork()',
      'system calls': `${inside}; then own ${after}`,
    });
    holds &&= inside === 'own 0, other 7→7 6→6 7→7' && after === '6→6';
    onMessage = () => {};
    client.destroy();
    otherClient.destroy();
  }

  // 3. Random messages, plain and corked, also from handlers, to a slow reader.
  const random = await compare();
  rows.push(...random.rows);
  holds &&= random.holds;
  return {
    claim:
      'send() is one system call at any size; it returns 0 exactly if bytes are buffered after it, and loses none; drain is called at each progress, mostly with some left; the flush of a cork fails unnoticed.',
    holds,
    rows,
  };

  async function compare(): Promise<{ holds: boolean; rows: Row[] }> {
    log.setBuffers(4096, 4096);
    const seed = Number(process.env['SEED'] ?? 1);
    let state = seed;
    const next = (): number =>
      (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
    const [client, ws] = await connect(await serve(), true);
    const frames: Buffer[] = [];
    const counts = { plain: 0, corked: 0, answered0: 0, lied: 0, drains: 0, drainsWithLeft: 0 };
    const lengthOf = (kind: number): number => {
      if (kind < 0.3) return Math.floor(next() * 300);
      if (kind < 0.6) return Math.floor(next() * 16_384);
      if (kind < 0.8) return 16_370 + Math.floor(next() * 30);
      return Math.floor(next() * (kind < 0.95 ? 60_000 : 200_000));
    };
    const send = (isCorked: boolean): void => {
      const length = lengthOf(next());
      const bytes = Buffer.allocUnsafe(length);
      for (let at = 0; at < length; at++)
        bytes[at] = (frames.length * 31 + at * 7 + (at >> 8)) & 255;
      bytes.copy(scratch);
      const answer = ws.send(piece(length), true);
      // The bytes may be overwritten at once.
      scratch.fill(0, 0, length);
      frames.push(serverFrame(0x82, bytes));
      if (answer === 0) counts.answered0++;
      if ((answer === 0) !== ws.getBufferedAmount() > 0) counts.lied++;
      if (isCorked) counts.corked++;
      else counts.plain++;
    };
    const work = (): void => {
      if (next() < 0.5) {
        send(false);
        return;
      }
      ws.cork(() => {
        for (let left = 1 + Math.floor(next() * 4); left > 0; left--) send(true);
      });
    };
    onMessage = work;
    onDrain = () => {
      counts.drains++;
      if (ws.getBufferedAmount() > 0) counts.drainsWithLeft++;
    };
    for (let round = 0; round < 300; round++) {
      await immediate();
      if (next() < 0.3) client.send(clientFrame(0x82, 'x'));
      if (ws.getBufferedAmount() < 300_000) work();
      for (let reads = Math.floor(next() * 30); reads > 0; reads--) {
        client.readOnce();
        await immediate();
      }
      if (next() < 0.03) {
        client.resume();
        await until(() => ws.getBufferedAmount() === 0, 'the reader to catch up');
        client.pause();
      }
    }
    client.resume();
    await until(() => ws.getBufferedAmount() === 0, 'the backlog');
    // A message that was still under way may have been answered.
    let expected = Buffer.concat(frames);
    await until(() => afterHead(client).length >= expected.length, 'all bytes');
    await turn(5);
    expected = Buffer.concat(frames);
    await until(() => afterHead(client).length >= expected.length, 'all bytes');
    const intact = afterHead(client).equals(expected);
    client.destroy();
    return {
      holds: intact && counts.lied === 0 && counts.answered0 > 0 && counts.drainsWithLeft > 0,
      rows: [
        {
          step: `${String(counts.plain)} plain and ${String(counts.corked)} corked messages of 0–200,000 B, slow reader, seed ${String(seed)}`,
          'send() answered': `0: ${String(counts.answered0)} times; not as buffered: ${String(counts.lied)}`,
          'drain calls, with left': `${String(counts.drains)}, ${String(counts.drainsWithLeft)} with some left`,
          'system calls': `${String(expected.length)} bytes ${intact ? 'intact' : 'DIFFER'}`,
        },
      ],
    };
  }
}

await main(import.meta.url, probe, { sendLog: true });
