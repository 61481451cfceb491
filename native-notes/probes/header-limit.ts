// A request head over UWS_HTTP_MAX_HEADERS_SIZE (4,096 unless set before the module loads) is
// answered 431, and so are 100 header fields or more.
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

type Answers = {
  byBytes: Record<string, string>;
  byFields: Record<string, string>;
  split: Record<string, string>;
};

/**
 * Asks with heads of many sizes and prints the status of each. `load` imports uWebSockets.js as
 * `uWS`.
 */
function script(load: string, byteSizes: number[]): string {
  return `
    import { connect } from 'node:net';
    ${load}
    const app = uWS.App();
    app.any('/*', (response, request) => { let count = 0; request.forEach(() => count++); response.end('fields ' + count); });
    let listening;
    app.listen(0, (socket) => (listening = socket));
    const ask = (parts) => new Promise((resolve) => {
      let text = '';
      const socket = connect(uWS.us_socket_local_port(listening), '127.0.0.1');
      socket.setNoDelay(true);
      const done = () => { resolve(text.split('\\r\\n')[0] || 'closed without an answer'); socket.destroy(); };
      socket.on('data', (data) => { text += data; if (text.includes('fields ')) done(); });
      socket.on('close', done);
      socket.on('error', () => {});
      let at = 0;
      const next = () => { if (at < parts.length && !socket.destroyed) socket.write(parts[at++], () => setTimeout(next, 2)); };
      next();
    });
    const start = 'GET / HTTP/1.1\\r\\nHost: probe\\r\\n';
    const sized = (bytes) => start + 'X-Fill: ' + 'a'.repeat(bytes - start.length - 12) + '\\r\\n\\r\\n';
    const fields = (count) => start + Array.from({ length: count - 1 }, (_, at) => 'X-' + at + ': a\\r\\n').join('') + '\\r\\n';
    const answers = { byBytes: {}, byFields: {}, split: {} };
    for (const bytes of ${JSON.stringify(byteSizes)}) {
      answers.byBytes[bytes] = await ask([sized(bytes)]);
      answers.split[bytes] = await ask([sized(bytes).slice(0, 30), sized(bytes).slice(30)]);
    }
    for (const count of [97, 98, 99, 100, 101, 150]) answers.byFields[count] = await ask([fields(count)]);
    console.log(JSON.stringify(answers));
    process.exit(0);
  `;
}

const staticImport = `import * as uWS from '${uwsPackage}';`;
const setThenImport = (bytes: number): string =>
  `process.env.UWS_HTTP_MAX_HEADERS_SIZE = '${String(bytes)}'; const uWS = await import('${uwsPackage}');`;
const importThenSet = (bytes: number): string =>
  `${staticImport} process.env.UWS_HTTP_MAX_HEADERS_SIZE = '${String(bytes)}';`;

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  const defaults = [2000, 4000, 4095, 4096, 4097, 5000, 9000];
  const eight = [4097, 8000, 8191, 8192, 8193, 9000];
  const cases: [string, string, number[], Record<string, string>][] = [
    ['not set', staticImport, defaults, {}],
    ['8192 set in process.env, then import()', setThenImport(8192), eight, {}],
    ['8192 set after the import', importThenSet(8192), eight, {}],
    ['8192 in the environment', staticImport, eight, { UWS_HTTP_MAX_HEADERS_SIZE: '8192' }],
  ];
  const found = new Map<string, Answers>();
  for (const [name, load, sizes, environment] of cases) {
    const { stdout, stderr } = await runScript(script(load, sizes), environment);
    if (stdout === '') throw new Error(stderr);
    const answers = JSON.parse(stdout) as Answers;
    found.set(name, answers);
    const line = (by: Record<string, string>): string =>
      Object.entries(by)
        .map(([size, status]) => `${size}: ${status.replace('HTTP/1.1 ', '').slice(0, 3)}`)
        .join(', ');
    rows.push({
      UWS_HTTP_MAX_HEADERS_SIZE: name,
      'head bytes in one segment': line(answers.byBytes),
      'head bytes in two segments': line(answers.split),
      'header fields': line(answers.byFields),
    });
  }
  const answer = (name: string, bytes: number, split = false): string => {
    const answers = found.get(name);
    return (split ? answers?.split : answers?.byBytes)?.[bytes] ?? '';
  };
  const ok = 'HTTP/1.1 200 OK';
  const tooLarge = 'HTTP/1.1 431 Request Header Fields Too Large';
  const set = cases[1]?.[0] ?? '';
  return {
    claim:
      'A head over UWS_HTTP_MAX_HEADERS_SIZE, or with too many fields, is answered 431; the variable counts if set before the module loads, also in process.env before import().',
    holds:
      answer('not set', 4000) === ok &&
      answer('not set', 5000, true) === tooLarge &&
      answer(set, 8000) === ok &&
      answer(set, 8000, true) === ok &&
      answer(set, 9000, true) === tooLarge &&
      answer('8192 set after the import', 8000, true) === tooLarge &&
      answer('8192 in the environment', 8000, true) === ok &&
      found.get(set)?.byFields['97'] === ok &&
      found.get(set)?.byFields['150'] !== ok,
    rows,
  };
}

await main(import.meta.url, probe);
