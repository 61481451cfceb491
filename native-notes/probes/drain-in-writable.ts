// With onWritable registered uWS drains nothing: cork(noop) in the handler does, and the handler is
// called again until all is out.
import { SendLog, takenBytes } from './send-log.js';
import { RawClient, chunkWireBytes, listen, main, turn, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

const noop = (): void => {};
const newline = Buffer.from('\n');

type Handler =
  | 'none registered'
  | 'returns true'
  | 'returns false'
  | 'cork(noop)'
  | "cork(write '\\n')"
  | 'setImmediate → cork(noop)';
type Case = { kernel: 'small' | 'default'; backlogKiB: number; handler: Handler };
type Outcome = {
  calls: number;
  failed: number;
  drained: boolean;
  backlog: number;
  callsAfterDrain: number;
  answers: string;
};

async function run(log: SendLog, { kernel, backlogKiB, handler }: Case): Promise<Outcome> {
  if (kernel === 'small') log.setBuffers(4096, 4096);
  else log.setBuffers(0, 0);
  let offered = 0;
  let calls = 0;
  const answers: boolean[] = [];
  let response: HttpResponse | undefined;
  const { port } = await listen(
    uWS.App().get('/*', (res) => {
      response = res;
      res.onAborted(noop);
      if (handler !== 'none registered') {
        res.onWritable(() => {
          calls++;
          if (handler === 'cork(noop)') res.cork(noop);
          if (handler === 'setImmediate → cork(noop)') setImmediate(() => res.cork(noop));
          if (handler === "cork(write '\\n')") {
            res.cork(() => {
              answers.push(res.write(newline));
            });
            offered += chunkWireBytes(1);
          }
          return handler !== 'returns false';
        });
      }
      res.write('x');
    }),
  );
  const start = log.count;
  const client = new RawClient(port, {
    paused: true,
    keep: false,
    readBytes: kernel === 'small' ? 4096 : 65536,
  }).get('/');
  await until(() => log.count > start, 'the prelude');
  offered += takenBytes(log.since(start));
  const taken = (): number => takenBytes(log.since(start));

  const res = response as unknown as HttpResponse;
  const piece = Buffer.alloc(8192, 97);
  const goal = backlogKiB * 1024;
  while (offered - taken() < goal) {
    const length = Math.min(piece.length, Math.max(1, goal - (offered - taken())));
    const part = piece.subarray(0, length);
    for (let at = 0; at < 16; at++) {
      // The kernel's ~4 MB fill quickly: many corks between two looks at the log.
      res.cork(() => {
        res.write(part);
      });
      offered += chunkWireBytes(length);
      if (kernel === 'small' || log.since(log.count - 1)[0]?.result !== chunkWireBytes(length))
        break;
    }
  }
  const backlogBefore = offered - taken();
  const mark = log.count;
  client.resume();
  if (handler === 'returns true' || handler === 'returns false') {
    await until(() => client.receivedBytes === taken() && calls > 0, 'the kernel to be empty');
    // It is writable now: fifty turns in which the handler could be called again.
    for (let at = 0; at < 50; at++) await turn();
  } else {
    await until(() => client.receivedBytes === offered, 'everything');
  }
  const callsAtDrain = calls;
  for (let at = 0; at < 50; at++) await turn();
  const failed = log.since(mark).filter((send) => send.result < send.asked).length;
  client.destroy();
  return {
    calls: callsAtDrain,
    failed,
    drained: offered === taken(),
    backlog: backlogBefore,
    callsAfterDrain: calls - callsAtDrain,
    answers: answers.map((answer) => (answer ? 'T' : 'F')).join(''),
  };
}

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  const outcomes = new Map<string, Outcome>();
  const cases: Case[] = [
    { kernel: 'small', backlogKiB: 32, handler: 'returns true' },
    { kernel: 'small', backlogKiB: 32, handler: 'returns false' },
    { kernel: 'small', backlogKiB: 32, handler: 'none registered' },
    { kernel: 'small', backlogKiB: 32, handler: 'cork(noop)' },
    { kernel: 'small', backlogKiB: 32, handler: "cork(write '\\n')" },
    { kernel: 'small', backlogKiB: 32, handler: 'setImmediate → cork(noop)' },
    { kernel: 'default', backlogKiB: 32, handler: 'cork(noop)' },
    { kernel: 'default', backlogKiB: 32, handler: "cork(write '\\n')" },
  ];
  for (const one of cases) {
    const outcome = await run(log, one);
    outcomes.set(`${one.kernel} ${one.handler}`, outcome);
    rows.push({
      'kernel buffers': one.kernel,
      handler: one.handler,
      'backlog at resume': outcome.backlog,
      'calls until drained': outcome.calls,
      'short sends': outcome.failed,
      drained: outcome.drained,
      'calls in 50 turns after': outcome.callsAfterDrain,
      "write('\\n') answered": outcome.answers,
    });
  }
  const of = (name: string): Outcome => outcomes.get(name) as Outcome;
  const idle = [of('small returns true'), of('small returns false')];
  const noopSmall = of('small cork(noop)');
  const told = of("small cork(write '\\n')");
  const big = of('default cork(noop)');
  const all = [...outcomes.values()];
  return {
    claim:
      'With onWritable, only a cork in the handler drains; the handler is called again after each short flush, and no more once nothing is left; a 1-byte write in it returns true exactly if everything is out.',
    holds:
      idle.every((one) => !one.drained && one.calls === 1) &&
      of('small none registered').drained &&
      of('small setImmediate → cork(noop)').drained &&
      noopSmall.drained &&
      noopSmall.calls > 1 &&
      noopSmall.calls === noopSmall.failed + 1 &&
      /^F+T$/.test(told.answers) &&
      told.calls === told.answers.length &&
      big.drained &&
      big.calls === 1 &&
      of("default cork(write '\\n')").answers === 'T' &&
      all.every((one) => one.callsAfterDrain === 0),
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
