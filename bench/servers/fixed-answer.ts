/**
 * The floor of the short-poll: a uWebSockets.js route that always sends the bytes of Holdline's
 * answer.
 */
import { loadUws } from '../../src/native/load.js';
import { serveRunner } from './agent.js';

const { App, us_listen_socket_close, us_socket_local_port } = (await loadUws()).uws;

/** Settings, as JSON in the environment. */
export interface FixedAnswerSettings {
  /** `200 OK` */
  status: string;
  /** Without those that uWebSockets.js writes by itself. */
  headers: [name: string, value: string][];
  body: string;
  /** False for a 204 without `Content-Length`. */
  hasLength: boolean;
}

const { status, headers, body, hasLength } = JSON.parse(
  process.env['BENCH_SETTINGS'] ?? '',
) as FixedAnswerSettings;
const bodyBytes = Buffer.from(body);

const app = App();
app.get('/*', (res) => {
  res.writeStatus(status);
  for (const [name, value] of headers) res.writeHeader(name, value);
  if (hasLength) res.end(bodyBytes);
  else res.endWithoutBody();
});
app.listen('127.0.0.1', 0, (listenSocket) => {
  if (!listenSocket) throw new Error('could not listen');
  serveRunner({
    port: us_socket_local_port(listenSocket),
    held: () => 0,
    counters: () => ({}),
    stop: () => us_listen_socket_close(listenSocket),
  });
});
