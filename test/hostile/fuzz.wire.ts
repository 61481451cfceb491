/**
 * A fuzzer with an oracle: whatever comes, the process lives, the control line misses nothing, no
 * answer says HOLDLINE_INTERNAL, and nothing is a fault in the log. SEED replays a run,
 * FUZZ_CASES says how many cases there are.
 */
import { expect, test } from 'vitest';
import { Random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { RawConnection } from '../support/wire.js';
import { sharedCasts } from './support/cast.js';
import { makeCase, type FuzzCase } from './support/fuzz-cases.js';
import { scaled } from './support/scale.js';
import { faultsOf, Stage } from './support/stage.js';
import { tried } from './support/trial.js';

const CASES = Number(process.env['FUZZ_CASES'] ?? scaled(1_500, 200_000));
const AT_ONCE = 32;
/** How long a case is left alone when it has sent everything, ms. */
const QUIET_MS = 25;

const casts = sharedCasts();

/** Sends one case and says what came. */
async function run(port: number, { pieces }: FuzzCase): Promise<string> {
  const raw = await RawConnection.open(port);
  for (const piece of pieces) {
    if (raw.closed) break;
    raw.send(piece);
    // A piece of its own: what was sent has been read, or soon will be.
    await new Promise((resolve) => setImmediate(resolve));
  }
  let before = -1;
  while (!raw.closed && raw.bytesRead !== before) {
    before = raw.bytesRead;
    await raw
      .waitFor('more, or the end', () => raw.closed || raw.bytesRead !== before, QUIET_MS)
      .catch(() => {});
  }
  raw.socket.resetAndDestroy();
  return raw.text;
}

test(
  `whatever is sent, the server goes on (SEED=${SEED} FUZZ_CASES=${CASES})`,
  { timeout: 60_000 + CASES * 20 },
  async () => {
    console.log(`fuzz: SEED=${SEED} FUZZ_CASES=${CASES}`);
    await tried(
      [
        'fuzz',
        'requests, batches and messages, strange and broken',
        'nothing that is sent is a fault of the server',
      ],
      async (trial) => {
        const stage = await Stage.open(casts(), {
          flags: { 'max-event-bytes': '1MiB', 'replay-total': '64MiB' },
        });
        const { server } = stage;
        const failed: string[] = [];
        let next = 0;
        const worker = async (): Promise<void> => {
          while (next < CASES && failed.length === 0 && server.exitCode === undefined) {
            const index = next++;
            // Each case has a seed of its own, so that one alone can be replayed: SEED is that
            // of the first.
            const one = makeCase(new Random(SEED + index), server.port);
            const text = await run(server.port, one).catch((error: unknown) => String(error));
            if (!text.includes('HOLDLINE_INTERNAL') && faultsOf(server).length === 0) continue;
            // A fault in the log may be of a case that ran beside it.
            const replay = text.includes('HOLDLINE_INTERNAL')
              ? `SEED=${SEED + index} FUZZ_CASES=1`
              : `SEED=${SEED + Math.max(0, index - AT_ONCE)} FUZZ_CASES=${2 * AT_ONCE}`;
            failed.push(`${replay}: ${one.name}`);
          }
        };
        const startMs = performance.now();
        await Promise.all(Array.from({ length: AT_ONCE }, worker));
        trial.note('seed', String(SEED));
        trial.note('cases', next);
        trial.note('seconds', (performance.now() - startMs) / 1_000, 's');
        trial.exactly(
          'case that found a fault',
          failed.find((one) => one.includes('FUZZ_CASES=1:')) ?? failed[0] ?? '',
          '',
        );
        trial.exactly('exit', server.exitCode ?? 'none', 'none');
        trial.exactly('faults in the log', faultsOf(server).join('; '), '');
        trial.note('resident, most', stage.probe.peakBytes / 2 ** 20, 'MiB');
        const { control, stats } = await stage.close();
        trial.exactly('internal errors', stats.counters.refused['HOLDLINE_INTERNAL'] ?? 0, 0);
        for (const figure of ['undelivered', 'gaps', 'faults', 'unanswered'] as const)
          trial.exactly(`control line: ${figure}`, control[figure]!, 0);
        trial.note('loop delay, longest', stats.loopDelay.maxMs, 'ms');
        trial.note('accepted', stats.counters.events_accepted_total);
        trial.note('refused', stats.counters.refused_total);
      },
    );
  },
);

test('the same seed makes the same cases', () => {
  const bytesOf = (seed: number): string =>
    Array.from({ length: 20 }, (_, i) =>
      Buffer.concat([...makeCase(new Random(seed + i), 1).pieces]).toString('base64'),
    ).join();
  expect(bytesOf(SEED)).toBe(bytesOf(SEED));
  expect(bytesOf(SEED)).not.toBe(bytesOf(SEED + 1));
});
