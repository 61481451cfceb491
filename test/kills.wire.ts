/**
 * One log on disk under two workers: the supervisor and the workers are killed at random moments
 * under load. What was acknowledged is there when they are back, under its id, once and in order;
 * no id names two events; a request that is repeated finds its receipt. A crash of
 * processes, not of the machine. CHAOS_ROUNDS and CHAOS_SEED: longer, and others.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { ask } from './support/asking.js';
import { Crowd } from './support/crowd.js';
import { idsOf } from './support/insistent-publisher.js';
import { KeptUp } from './support/kept-up.js';
import { Random } from './support/random.js';
import type { Acknowledged } from './support/truth.js';

const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 2);
const SEED = Number(process.env['CHAOS_SEED'] ?? 1);
const IS_LONG = process.env['CHAOS_ROUNDS'] !== undefined;
/** Acknowledged requests that are sent again after each start. */
const REPEATED = 5;

function workersOf(pid: number): readonly number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
  return children.trim().split(' ').filter(Boolean).map(Number);
}

/** Until it is answered: workers may still be starting. */
async function publishAgain(port: number, request: Acknowledged, body: string) {
  const headers = { 'Content-Type': request.type, 'Idempotency-Key': request.key };
  for (const untilMs = performance.now() + 20_000; ; await sleep(50)) {
    const asked = { method: 'POST', headers, body };
    const answer = await ask(port, `/${request.channel}`, asked).catch(() => undefined);
    if (answer !== undefined && answer.status !== 503) return answer;
    if (performance.now() > untilMs) throw new Error(`no answer: ${answer?.text}`);
  }
}

test(
  'a supervisor and workers that are killed under load lose nothing that was acknowledged',
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'holdline-kills-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const kept = await KeptUp.start({
      log: `lmdb:${join(directory, 'log')}`,
      workers: 2,
      'log-ballast': '1MiB',
      'replay-events': 20,
      'ops-key': 'ops',
    });
    const { port } = kept;
    const first = await ask(port, '/a', { method: 'POST', body: 'first' });
    const random = new Random(SEED);
    const crowd = new Crowd([port], SEED);
    crowd.begin(idsOf(first).firstId, 4, 3);
    const { truth } = crowd;
    const killed = { supervisors: 0, workers: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      await sleep(random.between(50, 1_000));
      const supervisor = kept.server!.child.pid!;
      // Every kind in the first rounds.
      const all = random.some(workersOf(supervisor), round === 1 || random.chance(0.3) ? 2 : 1);
      for (const worker of random.chance(0.7) ? all : []) {
        process.kill(worker, 'SIGKILL');
        killed.workers++;
        await sleep(random.below(200));
      }
      if (round !== 1 && random.chance(0.3)) continue;
      killed.supervisors++;
      await kept.again('SIGKILL');
      for (const request of random.some(truth.acknowledged.slice(-200), REPEATED)) {
        const same = await publishAgain(port, request, request.body);
        expect([same.status, idsOf(same)]).toEqual([
          200,
          { firstId: request.firstId, lastId: request.lastId },
        ]);
      }
      const [other] = random.some(truth.acknowledged.slice(-200), 1);
      if (other !== undefined)
        expect((await publishAgain(port, other, `{"data":"another body"}`)).status).toBe(422);
    }
    const faults = await crowd.end(() => Promise.resolve(0));
    if (IS_LONG) console.log(crowd.figures, JSON.stringify(killed), kept.failures);
    expect(faults).toEqual([]);
    expect(kept.failures).toEqual([]);
    expect(truth.acknowledged.length).toBeGreaterThan(5);
    expect(killed.supervisors).toBeGreaterThan(0);
  },
  ROUNDS * 15_000 + 180_000,
);
