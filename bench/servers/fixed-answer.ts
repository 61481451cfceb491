/**
 * The floor of the short-poll: a uWebSockets.js route that always sends the bytes of Holdline's
 * answer.
 */
import { serve, uws } from './uws-app.js';

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

const app = uws.App();
app.get('/*', (res) => {
  res.writeStatus(status);
  for (const [name, value] of headers) res.writeHeader(name, value);
  if (hasLength) res.end(bodyBytes);
  else res.endWithoutBody();
});
serve(app, {
  held: () => 0,
  counters: () => ({}),
});
