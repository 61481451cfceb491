// What req.getQuery(name) makes of a query: decoding, absence, repetition, broken escapes.
import { RawClient, listen, main, uWS, until } from './support.js';
import type { ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const { port } = await listen(
    uWS.App().get('/*', (response, request) => {
      const value = request.getQuery('q');
      response.end(value === undefined ? 'undefined' : JSON.stringify(value));
    }),
  );
  const rows: Row[] = [];
  let surprises = 0;
  const cases: [string, string][] = [
    ['/', 'undefined'],
    ['/?', 'undefined'],
    ['/?q', 'undefined'],
    ['/?q=', '""'],
    ['/?q=a', '"a"'],
    ['/?q=a=b', '"a=b"'],
    ['/?q=1&q=2', '"1"'],
    ['/?p=1&q=2', '"2"'],
    ['/?Q=1', 'undefined'],
    ['/?%71=1', 'undefined'],
    ['/?xq=1', 'undefined'],
    ['/?q=a+b', '"a b"'],
    ['/?q=%41%2f%26', '"A/&"'],
    ['/?q=%c3%a9', '"é"'],
    ['/?q=%ff', '"\ufffd"'],
    ['/?q=%00', '"\\u0000"'],
    ['/?q=%0d%0a', '"\\r\\n"'],
    ['/?q=%', 'undefined'],
    ['/?q=%4', 'undefined'],
    ['/?q=%zz', '"s"'],
    ['/?p=?q=1', 'undefined'],
    ['/?p=1;q=2', 'undefined'],
    ['/?q[]=1', 'undefined'],
    ['/?&&q=1', '"1"'],
  ];
  for (const [target, expected] of cases) {
    const client = new RawClient(port).get(target);
    await until(() => /\r\n\r\n[^]/.test(client.text()), target);
    const found = client.bytes().toString('utf8').split('\r\n\r\n')[1] ?? '';
    const same = found === expected;
    if (!same) surprises++;
    rows.push({ target, "getQuery('q')": found, ...(same ? {} : { expected }) });
    client.destroy();
  }
  return {
    claim:
      'getQuery(name) is decoded as UTF-8 with + as a space, the first of two wins; a name without = and a cut-off escape are undefined, as if absent; %zz is no error.',
    holds: surprises === 0,
    rows,
  };
}

await main(import.meta.url, probe);
