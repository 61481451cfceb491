/**
 * The server around one mechanism of bench/alternatives/: streams, publishing, and a pump that
 * writes in slices of time from `setImmediate`. It has no replay and no gap notices, so that only
 * the mechanism is compared.
 */
import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { SSE } from '../../src/core/frame.js';
import { SWEEP_SLICE_MS } from '../../src/limits.js';
import { MECHANISMS, type MechanismName } from '../alternatives/mechanisms.js';
import { answerPublish, beginStream, receiveBody, serve, uws } from './uws-app.js';

/** Settings, as JSON in the environment. */
export interface AlternativeSettings {
  mechanism: MechanismName;
}

const CHANNEL = 'bench';

const settings = JSON.parse(process.env['BENCH_SETTINGS'] ?? '') as AlternativeSettings;
const mechanism = MECHANISMS[settings.mechanism].make();
let lastId = 0;
let scheduled = false;

function wake(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(run);
}

function run(): void {
  scheduled = false;
  if (!mechanism.sweep(performance.now() + SWEEP_SLICE_MS)) wake();
}

const drain = (): void => {};

function subscribe(res: HttpResponse, _req: HttpRequest): void {
  beginStream(res);
  const callback = makeCallback(res, mechanism.join(res));
  res.onAborted(callback);
  res.onWritable(callback);
}

/**
 * One closure for both callbacks, in every mechanism, and without a name, as in src/native/uws.ts.
 */
function makeCallback(res: HttpResponse, line: unknown): (offset?: number) => boolean {
  return (offset) => {
    if (offset === undefined) {
      mechanism.left(line);
    } else {
      res.cork(drain);
      mechanism.drained(line);
      wake();
    }
    return true;
  };
}

function publish(res: HttpResponse, _req: HttpRequest): void {
  receiveBody(res, (data) => {
    const id = ++lastId;
    const frame = SSE.encode({
      id,
      channel: CHANNEL,
      type: undefined,
      data,
      json: false,
    });
    mechanism.append(id, frame, frame.length);
    wake();
    answerPublish(res, id, mechanism.lineCount);
  });
}

const app = uws.App();
app.get('/*', subscribe);
app.post('/*', publish);
serve(app, {
  held: () => mechanism.lineCount,
  counters: () => ({ events: lastId, writes_total: mechanism.writes }),
});
