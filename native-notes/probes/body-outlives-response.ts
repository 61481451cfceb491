// A body that comes when its response is over, and which of two onAborted handlers is called.
import { Findings, RawClient, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult } from './support.js';

/** How the method of a response that is over answers. */
function how(use: () => unknown): string {
  try {
    use();
    return 'works';
  } catch {
    return 'throws';
  }
}

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  let response: HttpResponse | undefined;
  /** Pieces that came when the response was over. */
  let pieces = 0;
  let isOver = false;
  let pause = '';
  const aborted = [0, 0];
  const { port } = await listen(
    uWS.App().any('/*', (res) => {
      response = res;
      res.onData(() => {
        if (!isOver) return;
        pieces++;
        pause = how(() => res.pause());
      });
      for (const nth of [0, 1]) res.onAborted(() => void (aborted[nth]! += 1));
      res.write('x');
    }),
  );
  const begun = async (): Promise<RawClient> => {
    pieces = 0;
    isOver = false;
    const client = new RawClient(port).send(
      'GET / HTTP/1.1\r\nHost: probe\r\nContent-Length: 9\r\n\r\n',
    );
    await until(() => client.receivedBytes > 0, 'the prelude');
    return client;
  };

  const left = await begun();
  left.destroy();
  await until(() => aborted[0]! + aborted[1]! > 0, 'the abort');
  findings.add(
    'two onAborted handlers: calls of the first and the second',
    aborted.join(', '),
    '0, 1',
  );

  const ended = await begun();
  const res = response!;
  res.cork(() => res.end());
  isOver = true;
  await until(() => ended.text().endsWith('0\r\n\r\n'), 'the end');
  for (const nth of [1, 2]) {
    ended.send('y');
    await until(() => pieces === nth, 'the piece');
  }
  findings.add('end(), and then two pieces of the body: calls of onData', String(pieces), '2');
  findings.add('… pause() within', pause, 'throws');
  ended.destroy();

  const closed = await begun();
  response!.close();
  isOver = true;
  closed.send('y');
  for (let at = 0; at < 20; at++) await turn();
  findings.add('close(), and then a piece: calls of onData', String(pieces), '0');
  closed.destroy();
  return {
    claim:
      'onData goes on behind end(), while every method of the response throws, within it too. A second onAborted takes the place of the first.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
