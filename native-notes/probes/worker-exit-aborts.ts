// A worker thread that ends while its app has live sockets takes the process with it; one that has
// closed them does not, nor does the main thread.
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

function script(end: string, terminate: boolean): string {
  const worker = `
    import * as uWS from '${uwsPackage}';
    import { parentPort } from 'node:worker_threads';
    const app = uWS.App().get('/*', (response) => { response.onAborted(() => {}); response.write('x'); });
    let listening;
    app.listen(0, (socket) => { listening = socket; parentPort.postMessage(uWS.us_socket_local_port(socket)); });
    parentPort.on('message', () => { ${end} });
  `;
  return `
    import { connect } from 'node:net';
    import { Worker } from 'node:worker_threads';
    import '${uwsPackage}';
    const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
    worker.once('message', (port) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
      socket.on('error', () => {});
      socket.once('data', () => { ${terminate ? 'void worker.terminate();' : "worker.postMessage('end');"} });
    });
    worker.on('error', () => {});
    worker.on('exit', () => setTimeout(() => { console.log('outlived'); process.exit(0); }, 50));
  `;
}

/** The app on the main thread, and a worker without one that ends. */
const appless = `
  import { Worker } from 'node:worker_threads';
  import * as uWS from '${uwsPackage}';
  uWS.App().listen(0, () => new Worker('process.exit()', { eval: true }).on('exit', () => { console.log('outlived'); process.exit(0); }));
`;

const cases: [name: string, source: string, lives: boolean][] = [
  ['process.exit() in the worker, a stream open', script('process.exit(0);', false), false],
  ['worker.terminate(), a stream open', script('', true), false],
  [
    'an uncaught exception in the worker, a stream open',
    script("throw new Error('worker');", false),
    false,
  ],
  [
    'app.close() and process.exit() in one turn',
    script('app.close(); process.exit(0);', false),
    true,
  ],
  [
    'app.close(), the worker ends by itself',
    script('app.close(); parentPort.close();', false),
    true,
  ],
  ['process.exit() in a worker without an app', appless, true],
];

/** The same on the main thread, which has no other loop to come back to. */
const onMainThread = `
  import { connect } from 'node:net';
  import * as uWS from '${uwsPackage}';
  const app = uWS.App().get('/*', (response) => { response.onAborted(() => {}); response.write('x'); });
  app.listen(0, (listening) => {
    const socket = connect(uWS.us_socket_local_port(listening), '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
    socket.once('data', () => process.exit(3));
  });
`;

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  const results = await Promise.all(cases.map(async ([, source]) => runScript(source)));
  for (const [at, [name, , lives]] of cases.entries()) {
    const { signal, stdout, stderr } = results[at] ?? { signal: null, stdout: '', stderr: '' };
    const outlived = stdout.includes('outlived');
    holds &&= outlived === lives && (lives || signal === 'SIGABRT');
    rows.push({
      'the worker ends by': name,
      process: outlived ? 'lives' : `ended by ${String(signal)}`,
      'open handles on stderr': stderr.includes('has open handles'),
    });
  }
  const { code, stderr } = await runScript(onMainThread);
  holds &&= code === 3;
  rows.push({
    'the worker ends by': 'no worker: process.exit(3) on the main thread, a stream open',
    process: `exit code ${String(code)}`,
    'open handles on stderr': stderr.includes('has open handles'),
  });
  return {
    claim:
      'A worker thread that ends with an open app, by exit, terminate() or an uncaught exception, aborts the whole process; after app.close() it may end at once. The main thread may exit with one.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
