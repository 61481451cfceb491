// What SSLApp does with bad files, and whether what src/ relies on in App holds there: accept
// filter, corks, refused writes and their drain, aborts, WebSockets.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import {
  decodeChunked,
  Findings,
  listenAlone,
  main,
  NotHere,
  RawClient,
  until,
  upgrade,
  upgradeHeaders,
  uWS,
} from './support.js';
import type { HttpResponse, ProbeResult, TemplatedApp } from './support.js';

const folder = mkdtempSync(join(tmpdir(), 'holdline-probe-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

interface Files {
  readonly cert_file_name: string;
  readonly key_file_name: string;
}

/** A certificate signed by itself, on a curve. */
function certificate(curve: string): Files {
  const files = {
    cert_file_name: join(folder, `${curve}.crt`),
    key_file_name: join(folder, `${curve}.key`),
  };
  try {
    execFileSync(
      'openssl',
      `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:${curve} -nodes -days 2 -subj /CN=localhost`
        .split(' ')
        .concat(['-keyout', files.key_file_name, '-out', files.cert_file_name]),
      { stdio: 'ignore' },
    );
  } catch {
    throw new NotHere('openssl');
  }
  return files;
}

/** What the constructor says to the files, and what Node's does. */
function said(files: Files): string {
  let native = 'takes them';
  try {
    uWS.SSLApp(files);
  } catch (error) {
    native = (error as Error).message;
  }
  let node = 'takes them';
  try {
    const [cert, key] = [files.cert_file_name, files.key_file_name].map((path) =>
      readFileSync(path),
    );
    createSecureContext({ cert: cert as Buffer, key: key as Buffer });
  } catch (error) {
    node = (error as NodeJS.ErrnoException).code ?? 'refuses';
  }
  return `${native}; Node: ${node}`;
}

function dial(port: number, options: object = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options });
    socket.once('secureConnect', () => resolve(socket)).once('error', reject);
  });
}

const corkBytes = 16_376;

export async function probe(): Promise<ProbeResult> {
  const findings = new Findings();
  const good = certificate('prime256v1');
  const other = certificate('secp384r1');
  const koblitz = certificate('secp256k1');
  const garbage = join(folder, 'garbage');
  writeFileSync(garbage, 'no PEM');
  const failed = 'App construction failed';
  findings.add('good files', said(good), 'takes them; Node: takes them');
  findings.add(
    'a certificate that is not there',
    said({ ...good, cert_file_name: `${folder}/none` }),
    `${failed}; Node: ENOENT`,
  );
  findings.add(
    'a certificate of garbage',
    said({ ...good, cert_file_name: garbage }),
    `${failed}; Node: ERR_OSSL_PEM_NO_START_LINE`,
  );
  findings.add(
    'the key of another',
    said({ ...good, key_file_name: other.key_file_name }),
    `${failed}; Node: ERR_OSSL_X509_KEY_VALUES_MISMATCH`,
  );
  findings.add('a key on secp256k1', said(koblitz), `${failed}; Node: takes them`);

  let response: HttpResponse | undefined;
  let aborted = 0;
  let writable = 0;
  let refuses = false;
  const seen: number[] = [];
  const app: TemplatedApp = uWS
    .SSLApp(good)
    .filter((res, change) => {
      seen.push(change as number);
      if (refuses && (change as number) > 0) res.close();
    })
    .get('/*', (res) => {
      response = res;
      res.onAborted(() => void aborted++);
      res.onWritable(() => {
        writable++;
        res.cork(() => {});
        return true;
      });
      res.write('x');
    })
    .ws('/*', {
      upgrade: (res, req, context) => upgrade(res, req, context, {}),
      open: (ws) => void ws.send('pushed'),
    });
  const socket = listenAlone(app, '127.0.0.1', 0);
  if (!socket) throw new Error('cannot listen');
  const port = uWS.us_socket_local_port(socket);

  const client = await dial(port, { ALPNProtocols: ['h2', 'http/1.1'] });
  findings.add(
    'protocol, ALPN',
    `${String(client.getProtocol())}, ${String(client.alpnProtocol)}`,
    'TLSv1.3, false',
  );
  const old = await dial(port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }).then(
    () => 'served',
    () => 'refused',
  );
  findings.add('TLS 1.1', old, 'refused');

  // A reader that stops, and reads on.
  const received: Buffer[] = [];
  let bytes = 0;
  client.on('data', (piece: Buffer) => {
    received.push(piece);
    bytes += piece.length;
  });
  client.write('GET / HTTP/1.1\r\nHost: probe\r\n\r\n');
  await until(() => bytes > 0, 'the prelude');
  client.pause();
  const res = response as unknown as HttpResponse;
  const sent: Buffer[] = [Buffer.from('x')];
  let taken = true;
  while (taken) {
    const block = Buffer.alloc(corkBytes, sent.length);
    res.cork(() => void (taken = res.write(block)));
    sent.push(block);
    if (sent.length > 10_000) throw new Error('no write was refused');
    await new Promise((resolve) => setImmediate(resolve));
  }
  findings.add('corks until one was refused: at least ten', sent.length > 10, true);
  findings.add('onWritable before the reader reads on', writable, 0);
  client.resume();
  const whole = Buffer.concat(sent);
  await until(
    () => decodeChunked(Buffer.concat(received)).body.length === whole.length,
    'what was written',
  );
  await until(() => writable > 0, 'onWritable');
  const decoded = decodeChunked(Buffer.concat(received));
  findings.add(
    'what arrives, after onWritable with an empty cork',
    decoded.corruptAt === -1 && decoded.body.equals(whole) ? 'every byte' : 'other bytes',
    'every byte',
  );
  client.destroy();
  await until(() => aborted === 1, 'onAborted');
  await until(() => seen.filter((change) => change < 0).length === 2, 'the closes');
  findings.add('filter: 1 and −1 for each socket', seen.join(' '), '1 1 -1 -1');

  const speaker = await dial(port);
  let frames = '';
  speaker.on('data', (piece: Buffer) => (frames += piece.toString('latin1')));
  speaker.write(`GET /c HTTP/1.1\r\nHost: probe\r\n${upgradeHeaders}\r\n`);
  await until(() => frames.endsWith('pushed'), 'the message');
  findings.add('a WebSocket', frames.slice(9, 12), '101');

  const plain = new RawClient(port).get('/');
  await until(() => plain.closed, 'its close');
  findings.add('plain HTTP', `${String(plain.receivedBytes)} bytes`, '0 bytes');

  refuses = true;
  const refused = await dial(port).then(
    () => 'served',
    () => 'closed',
  );
  findings.add('res.close() in the filter', refused, 'closed');
  refuses = false;

  const last = await dial(port);
  last.on('error', () => {});
  last.write('GET / HTTP/1.1\r\nHost: probe\r\n\r\n');
  await until(() => response !== res, 'the request');
  aborted = 0;
  app.close();
  findings.add('app.close(): onAborted inside the call', aborted, 1);
  return {
    claim:
      'SSLApp throws "App construction failed" for files that it cannot serve, some of which Node can; it speaks TLS 1.2 and 1.3 without ALPN; filter, corks, refused writes, their drain, aborts and WebSockets are those of App.',
    holds: findings.holds,
    rows: findings.rows,
  };
}

await main(import.meta.url, probe);
