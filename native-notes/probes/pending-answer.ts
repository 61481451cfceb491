// Slow (27 s; SECONDS=66 makes it longer). What the 10 s timer does to an unanswered GET (a long
// poll) and to its connection before and after.
import { RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

/** The longest wait of a poll that the project gives without being asked for it, and a bit. */
const pendingSeconds = Number(process.env['SECONDS'] ?? 26);

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  const elapsed = (): number => performance.now() / 1000;
  let aborted = 0;
  const held: HttpResponse[] = [];
  const { port } = await listen(
    uWS
      .App()
      .get('/held', (response) => {
        held.push(response);
        response.onAborted(() => aborted++);
      })
      .get('/now', (response) => void response.end('now.'))
      .get('/turn', (response) => {
        response.onAborted(() => aborted++);
        setImmediate(() => void response.cork(() => response.end('turn.')));
      })
      .get('/empty', (response) => {
        response.onAborted(() => aborted++);
        setImmediate(
          () => void response.cork(() => response.writeStatus('204 No Content').endWithoutBody()),
        );
      }),
  );
  const count = (client: RawClient, text: string): number => client.text().split(text).length - 1;
  const hold = async (client: RawClient): Promise<HttpResponse> => {
    const before = held.length;
    client.get('/held');
    await until(() => held.length > before, 'the held request');
    return held[before] as HttpResponse;
  };

  // 1. Idle after an answer: closed.
  const idle = ['/now', '/turn'].map(async (path) => {
    const client = new RawClient(port).get(path);
    await until(() => count(client, '.') > 0, path);
    const from = elapsed();
    await until(() => client.closed, 'the close', 20_000);
    return elapsed() - from;
  });

  // 2. Unanswered: on a new connection, on one that has had answers, and again and again.
  const fresh = new RawClient(port);
  const freshResponse = await hold(fresh);
  const reused = new RawClient(port);
  for (let at = 1; at <= 5; at++) {
    reused.get('/turn');
    await until(() => count(reused, 'turn.') === at, 'an answer');
    reused.get('/empty');
    await until(() => count(reused, '204 No Content') === at, 'an empty answer');
  }
  rows.push({
    case: '10 requests one after the other, each answered in setImmediate: 200 with a body, 204 without',
    'closed after s': reused.closed ? 'at once' : 'open',
  });
  holds &&= !reused.closed;
  await turn(5000);
  const reusedResponse = await hold(reused);
  const from = elapsed();
  while (elapsed() < from + pendingSeconds - 5) await turn(50);
  for (const [name, client, response, seconds] of [
    ['unanswered on a new connection', fresh, freshResponse, pendingSeconds],
    [
      '5 s idle after an answer, then unanswered on the same connection',
      reused,
      reusedResponse,
      pendingSeconds - 5,
    ],
  ] as const) {
    const open = !client.closed && aborted === 0;
    response.cork(() => response.end('late.'));
    await until(() => client.closed || count(client, 'late.') > 0, 'the late answer');
    const answers = count(client, 'late.');
    client.get('/now');
    await until(() => client.closed || client.text().endsWith('now.'), 'the next answer');
    rows.push({
      case: name,
      'closed after s': open ? `open at ${String(seconds)}` : 'closed',
      'answered then': answers === 1,
      'next request answered': client.text().endsWith('now.'),
    });
    holds &&= open && answers === 1 && client.text().endsWith('now.');
  }
  const [afterNow, afterTurn] = await Promise.all(idle);
  for (const [name, seconds] of [
    ['idle after an answer in the handler', afterNow ?? 0],
    ['idle after an answer in setImmediate', afterTurn ?? 0],
  ] as const) {
    rows.push({ case: name, 'closed after s': seconds.toFixed(1) });
    holds &&= seconds > 7.3 && seconds < 12.7;
  }
  return {
    claim:
      'An unanswered GET has no time limit, also on a connection that was used before; after an answer an idle connection is closed after 8–12 s.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
