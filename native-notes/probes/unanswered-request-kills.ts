// A handler that returns or throws without an answer and without onAborted ends the process; with
// onAborted it lives. Each case in a child.
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

const later = 'new Promise((resolve) => setTimeout(resolve, 1))';

/** What the handler does, and whether the process must outlive it. */
const cases: [name: string, handler: string, lives: boolean][] = [
  ['returns', '', false],
  ['throws', 'throw new Error("handler")', false],
  ['async, answers later', `void ${later}.then(() => response.end("ok"))`, false],
  ['answers in a microtask', 'void Promise.resolve().then(() => response.end("ok"))', true],
  ['onAborted, returns', 'response.onAborted(() => {})', true],
  ['onAborted, throws', 'response.onAborted(() => {}); throw new Error("handler")', true],
  [
    'onAborted, write(), throws',
    'response.onAborted(() => {}); response.write("x"); throw new Error("handler")',
    true,
  ],
  [
    'onAborted that throws',
    'response.onAborted(() => { throw new Error("aborted") }); setImmediate(() => response.close())',
    true,
  ],
];

function script(handler: string): string {
  return `
    import { connect } from 'node:net';
    import * as uWS from '${uwsPackage}';
    let caught = 0;
    for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, () => caught++);
    process.on('exit', () => console.log('exit hook'));
    const app = uWS.App();
    app.get('/alive', (response) => response.end('alive'));
    let asked = false;
    app.get('/*', (response) => { asked = true; ${handler} });
    const ask = (path, isEnough) => new Promise((resolve) => {
      let text = '';
      const socket = connect(uWS.us_socket_local_port(listening), '127.0.0.1', () => socket.write('GET ' + path + ' HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
      socket.on('data', (data) => { text += data; if (isEnough?.()) resolve(text); });
      socket.on('close', () => resolve(text));
      // Where no answer is certain: the handler has run, and what it sends, and what it does to the
      // process, comes within a few turns.
      if (isEnough !== undefined) return;
      const timer = setInterval(() => { if (asked) { clearInterval(timer); setTimeout(() => resolve(text), 20); } }, 1);
    });
    let listening;
    app.listen(0, (socket) => (listening = socket));
    const first = await ask('/case');
    const alive = (await ask('/alive', () => true)).endsWith('alive');
    console.log(JSON.stringify({ caught, alive, first: first.split('\\r\\n')[0] }));
    process.exit(0);
  `;
}

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  const results = await Promise.all(cases.map(async ([, handler]) => runScript(script(handler))));
  for (const [at, [name, , lives]] of cases.entries()) {
    const { signal, stdout, stderr } = results[at] as (typeof results)[number];
    const line = stdout.split('\n').find((text) => text.startsWith('{'));
    const told =
      line === undefined
        ? { caught: 0, alive: false, first: '' }
        : (JSON.parse(line) as { caught: number; alive: boolean; first: string });
    holds &&=
      told.alive === lives &&
      (lives ||
        (signal === 'SIGABRT' &&
          !stdout.includes('exit hook') &&
          stderr.includes('without responding or attaching an abort handler')));
    rows.push({
      'the handler': name,
      process: told.alive ? 'lives' : `killed by ${String(signal)}`,
      uncaughtException: told.caught,
      'exit hook ran': stdout.includes('exit hook'),
      'client got': told.first,
    });
  }
  return {
    claim:
      'Returning (or throwing) from a handler without an answer and without onAborted aborts the process, and no JavaScript hook runs; a microtask’s answer is in time.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
