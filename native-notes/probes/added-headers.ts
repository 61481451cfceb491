// The header lines that uWebSockets adds by itself, and which of them can be left out. Each case in
// a child: _cfg is for the process.
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

function script(before: string, answer: string): string {
  return `
    import { connect } from 'node:net';
    import * as uWS from '${uwsPackage}';
    ${before}
    const app = uWS.App();
    app.get('/*', (response) => { response.onAborted(() => {}); ${answer} });
    app.listen(0, (listening) => {
      const socket = connect(uWS.us_socket_local_port(listening), '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
      let text = '';
      socket.on('data', (bytes) => { text += bytes; if (/\\r\\n\\r\\n/.test(text)) { console.log(JSON.stringify(text)); process.exit(0); } });
    });
  `;
}

const cases: [name: string, before: string, answer: string, names: string][] = [
  ["end('ok')", '', "response.end('ok')", 'Date, uWebSockets, Content-Length'],
  ["write('ok')", '', "response.write('ok')", 'Date, uWebSockets, Transfer-Encoding'],
  ['endWithoutBody()', '', 'response.endWithoutBody()', 'Date, uWebSockets'],
  [
    "an own Date, then end('ok')",
    '',
    "response.writeHeader('Date', 'x').end('ok')",
    'Date, Date, uWebSockets, Content-Length',
  ],
  [
    "_cfg('silent'), end('ok')",
    "uWS._cfg('silent');",
    "response.end('ok')",
    'Date, Content-Length',
  ],
  [
    "_cfg('silent'), write('ok')",
    "uWS._cfg('silent');",
    "response.write('ok')",
    'Date, Transfer-Encoding',
  ],
];

export async function probe(): Promise<ProbeResult> {
  const rows: Row[] = [];
  let holds = true;
  const results = await Promise.all(
    cases.map(async ([, before, answer]) => runScript(script(before, answer))),
  );
  for (const [at, [name, , , expected]] of cases.entries()) {
    const { stdout, stderr } = results[at] ?? { stdout: '', stderr: '' };
    if (stdout === '') throw new Error(stderr);
    const head = (JSON.parse(stdout) as string).split('\r\n\r\n')[0] ?? '';
    const lines = head.split('\r\n').slice(1);
    const names = lines.map((line) => line.slice(0, line.indexOf(':'))).join(', ');
    holds &&= names === expected;
    rows.push({ answer: name, 'header lines': names, 'head bytes': head.length + 4 });
  }
  return {
    claim:
      "Every answer gets a Date and, unless _cfg('silent') is set, a uWebSockets header; how it is answered decides between Content-Length and Transfer-Encoding.",
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
