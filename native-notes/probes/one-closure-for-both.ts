// onAborted calls without an argument, onWritable with a number: one closure can serve both. The
// number stays 0 for chunked writes.
import { SendLog } from './send-log.js';
import { RawClient, listen, main, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const calls: unknown[][] = [];
  const receivers: unknown[] = [];
  let response: HttpResponse | undefined;
  const { port } = await listen(
    uWS.App().get('/*', (res) => {
      response = res;
      const both = function (this: unknown, ...args: unknown[]): boolean {
        receivers.push(this === globalThis || this === undefined ? 'global' : 'other');
        calls.push(args);
        return true;
      };
      res.onAborted(both).onWritable(both);
      res.write('x');
    }),
  );
  const client = new RawClient(port).get('/');
  await until(() => client.receivedBytes > 0, 'the prelude');
  const res = response as unknown as HttpResponse;
  log.setBudget(0);
  res.cork(() => res.write('0123456789'));
  log.setBudget(-1);
  const offset = res.getWriteOffset();
  await until(() => calls.length === 1, 'onWritable');
  client.destroy();
  await until(() => calls.length === 2, 'onAborted');
  const [writable = [], aborted = []] = calls;
  const rows: Row[] = [
    {
      callback: 'onWritable',
      arguments: JSON.stringify(writable),
      this: String(receivers[0]),
      'getWriteOffset()': offset,
    },
    {
      callback: 'onAborted',
      arguments: JSON.stringify(aborted),
      this: String(receivers[1]),
      'getWriteOffset()': 'throws',
    },
  ];
  return {
    claim:
      'onAborted calls without an argument and onWritable with a number (0 for chunked writes), so one closure serves both.',
    holds: writable.length === 1 && writable[0] === 0 && aborted.length === 0,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
