// write() outside a cork: CRLF, size, CRLF and data are a send() each, and stderr gets a warning. A
// cork is one send().
import { SendLog } from './send-log.js';
import { main, runScript, uwsPackage } from './support.js';
import type { ProbeResult, Row } from './support.js';

/**
 * One held stream and one write to it from setImmediate. Only the server calls send(), and its
 * first is the prelude's.
 */
function script(write: string): string {
  return `
    import { connect } from 'node:net';
    import * as uWS from '${uwsPackage}';
    const data = Buffer.alloc(256, 97);
    const app = uWS.App();
    app.get('/*', (response) => {
      response.onAborted(() => {});
      response.write('x');
      setImmediate(() => { ${write} });
    });
    app.listen(0, (listening) => {
      const socket = connect(uWS.us_socket_local_port(listening), '127.0.0.1', () => socket.write('GET / HTTP/1.1\\r\\nHost: probe\\r\\n\\r\\n'));
      let text = '';
      socket.on('data', (bytes) => { text += bytes; if (text.endsWith('a'.repeat(256))) process.exit(0); });
    });
  `;
}

const cases = [
  ['corked', 'response.cork(() => response.write(data));'],
  ['uncorked', 'response.write(data);'],
] as const;

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  const found: { sends: number[]; warnings: number }[] = [];
  for (const [name, write] of cases) {
    const mark = log.count;
    // A child each, since the warning is written natively to its stderr. It shares this process's
    // log.
    const { code, stderr } = await runScript(script(write));
    if (code !== 0) throw new Error(stderr);
    const sends = log.since(mark + 1).map((send) => send.asked);
    const warnings = stderr.split('must be made from within a corked callback').length - 1;
    found.push({ sends, warnings });
    rows.push({
      'one write of 256 bytes': name,
      'send() calls': sends.length,
      'bytes of each': sends.join(' + '),
      'warnings on stderr': warnings,
    });
  }
  return {
    claim:
      'write() outside a cork is four send() calls and a warning on stderr; in a cork it is one.',
    holds:
      JSON.stringify(found) === '[{"sends":[263],"warnings":0},{"sends":[2,3,2,256],"warnings":1}]',
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
