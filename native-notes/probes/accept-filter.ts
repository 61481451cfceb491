// app.filter sees +1 for each accepted socket and −1 for each that goes; res.close() in it refuses
// a socket before it has sent a byte.
import { RawClient, listen, main, turn, uWS, until } from './support.js';
import type { ProbeResult, Row } from './support.js';

const cap = 5;
const connects = 20;

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  const calls: number[] = [];
  let live = 0;
  let peak = 0;
  let minusInsideClose = 0;
  let objectsBefore = 0;
  let handled = 0;
  const app = uWS.App().any('/*', (response) => {
    handled++;
    response.end('ok');
  });
  app.filter((response, change) => {
    calls.push(change as number);
    live += change as number;
    peak = Math.max(peak, live);
    if (change === 1 && live > cap) {
      objectsBefore = calls.length;
      response.close();
      minusInsideClose += calls.slice(objectsBefore).filter((call) => call === -1).length;
    }
  });
  const { port } = await listen(app);
  const silent = Array.from({ length: connects }, () => new RawClient(port));
  await until(() => calls.filter((call) => call === 1).length === connects, 'every connect');
  await until(
    () => silent.filter((client) => client.closed).length === connects - cap,
    'the refused ones to close',
  );
  const refused = silent.filter((client) => client.closed);
  const plus = calls.filter((call) => call === 1).length;
  const minus = calls.filter((call) => call === -1).length;
  rows.push({
    step: `${String(connects)} connects that send nothing, cap ${String(cap)}`,
    '+1': plus,
    '−1': minus,
    live,
    'clients closed': refused.length,
    'client saw': [
      ...new Set(refused.map((client) => (client.error === '' ? 'FIN' : client.error))),
    ].join(' '),
  });

  // One that talks before it knows.
  const talker = new RawClient(port).get('/');
  await until(() => talker.closed, 'the talker to be refused');
  rows.push({
    step: 'one more that sends a request at once',
    '+1': calls.filter((call) => call === 1).length,
    '−1': calls.filter((call) => call === -1).length,
    live,
    'clients closed': 1,
    'client saw':
      talker.error === ''
        ? talker.receivedBytes === 0
          ? 'FIN, no byte'
          : 'an answer'
        : talker.error,
  });

  silent.find((client) => !client.closed)?.destroy();
  await until(() => live === cap - 1, 'a place');
  const next = new RawClient(port).get('/');
  await until(() => next.text().endsWith('ok'), 'an answer in the freed place');
  rows.push({
    step: 'one left, one came and asked',
    '+1': calls.filter((call) => call === 1).length,
    '−1': calls.filter((call) => call === -1).length,
    live,
    'clients closed': 0,
    'client saw': '200',
  });
  for (const client of silent) client.destroy();
  next.destroy();
  await until(() => live === 0, 'all to be gone');
  await turn();
  rows.push({
    step: 'all left',
    '+1': calls.filter((call) => call === 1).length,
    '−1': calls.filter((call) => call === -1).length,
    live,
    'clients closed': '',
    'client saw': '',
  });
  return {
    claim:
      'app.filter is called with 1 for each accepted socket and −1 once for each closed one, also the refused; res.close() in it refuses, and the −1 comes inside that call.',
    holds:
      refused.length === connects - cap &&
      plus === connects &&
      minus === connects - cap &&
      minusInsideClose === connects - cap + 1 &&
      peak === cap + 1 &&
      handled === 1 &&
      live === 0,
    rows,
  };
}

await main(import.meta.url, probe);
