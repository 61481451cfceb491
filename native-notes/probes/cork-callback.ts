// What the callback of cork() is given, and what a corked write allocates in JavaScript: with one
// function for the process, and with a closure each.
import { Findings, main, runScript, uwsPackage } from './support.js';
import type { ProbeResult } from './support.js';

const corks = 100_000;

/**
 * Prints the arguments of a cork's callback, then V8 heap bytes a cork for each way of writing;
 * nothing is collected meanwhile.
 */
const script = `
  import { connect } from 'node:net';
  import * as uWS from '${uwsPackage}';
  const bytes = Buffer.allocUnsafeSlow(1).fill(10);
  const app = uWS.App().get('/*', (response) => { response.onAborted(() => {}); response.write('x'); setImmediate(measure, response); });
  let corkedResponse, corkedBytes, corkedTaken;
  function writeCorked() { corkedTaken = corkedResponse.write(corkedBytes); }
  const ways = {
    registers(response) { corkedResponse = response; corkedBytes = bytes; response.cork(writeCorked); return corkedTaken; },
    closure(response) { let taken; response.cork(() => { taken = response.write(bytes); }); return taken; },
    bound(response) { response.cork(response.write.bind(response, bytes)); return true; },
  };
  function measure(response) {
    let seen;
    response.cork(function () { seen = { arguments: arguments.length, isGlobal: this === undefined || this === globalThis }; });
    const found = { ...seen, returns: response.cork(writeNothing) === response };
    for (const [name, way] of Object.entries(ways)) {
      for (let at = 0; at < 2000; at++) way(response);
      gc();
      const before = process.memoryUsage().heapUsed;
      for (let at = 0; at < ${String(corks)}; at++) way(response);
      found[name] = (process.memoryUsage().heapUsed - before) / ${String(corks)};
    }
    console.log(JSON.stringify(found));
    process.exit();
  }
  function writeNothing() {}
  app.listen(0, (socket) => {
    const client = connect(uWS.us_socket_local_port(socket), '127.0.0.1', () => client.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
    client.resume();
  });
`;

type Found = {
  arguments: number;
  isGlobal: boolean;
  returns: boolean;
  registers: number;
  closure: number;
  bound: number;
};

export async function probe(): Promise<ProbeResult> {
  // A young generation that holds all of it, so that the heap only grows.
  const { stdout, stderr } = await runScript(script, {}, [
    '--expose-gc',
    '--min-semi-space-size=64',
    '--max-semi-space-size=64',
  ]);
  if (stdout === '') throw new Error(stderr);
  const found = JSON.parse(stdout) as Found;
  const findings = new Findings();
  const inWords = (bytes: number): string =>
    bytes < 8 ? 'under 8' : bytes < 40 ? bytes.toFixed(1) : '40 or more';
  findings.add('arguments of the callback', found.arguments, 0);
  findings.add('its this is the global object', found.isGlobal, true);
  findings.add('cork() returns the response', found.returns, true);
  findings.add(
    'heap bytes a corked write, one function and registers',
    inWords(found.registers),
    'under 8',
  );
  findings.add('heap bytes a corked write, a closure each', inWords(found.closure), '40 or more');
  findings.add('heap bytes a corked write, write.bind() each', inWords(found.bound), '40 or more');
  return {
    claim:
      'The callback of cork() is called without an argument; one function that reads module-level registers makes a corked write free of garbage; a closure for each write is about 105 B.',
    holds: findings.holds,
    rows: [
      ...findings.rows,
      {
        case: 'measured',
        seen: [found.registers, found.closure, found.bound]
          .map((bytes) => `${bytes.toFixed(0)} B`)
          .join(', '),
      },
    ],
  };
}

await main(import.meta.url, probe);
