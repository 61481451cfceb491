/** What a capacity plan says of itself: no green where a margin of error passes the target. */

import { describe, expect, it } from 'vitest';
import type { Estimate } from '../src/tools/capacity/plan.js';
import { cpuTone, judge, latencyTone, type Judged } from '../src/tools/capacity/verdict.js';

const estimate = (value: number, plusMinus = 0.05): Estimate => ({ value, plusMinus, beyond: 1 });

/** A plan with room everywhere, but for what is given. */
function planWith(parts: Partial<Judged> = {}): Judged {
  return {
    request: { subscribers: 10_000, eventsPerSecond: 10, eventBytes: 256, p99Ms: 250 },
    cpuShare: estimate(0.5),
    p99Ms: estimate(100),
    ceilingPerSecond: estimate(300),
    ...parts,
  };
}

describe('a plan', () => {
  it.each([
    ['with room everywhere', {}, 'good', 'p99 stays within 250 ms and CPU below 100 %'],
    [
      // As it was seen, under a green verdict.
      'at 100 % CPU, with p99 207 ± 67 % against 250',
      { cpuShare: estimate(1, 0.3), p99Ms: estimate(207, 0.67) },
      'warning',
      'It may not be enough: p99 is 207 ms ± 67 %, and may be above the 250 ms asked for, up to ' +
        '346 ms; the core of each process is fully used, so nothing is left for a peak.',
    ],
    [
      'whose p99 reaches the target at the end of its margin',
      { p99Ms: estimate(200, 0.25) },
      'good',
      'within 250 ms',
    ],
    ['whose p99 just passes it', { p99Ms: estimate(200, 0.251) }, 'warning', 'up to 250 ms'],
    [
      'whose p99 misses it',
      { p99Ms: estimate(251, 0) },
      'bad',
      'It is not enough: p99 is 251 ms ± 0 %, above the 250 ms asked for.',
    ],
    [
      'whose p99 may be anything',
      { p99Ms: estimate(20, 40) },
      'warning',
      'p99 is 20 ms (very uncertain), and may be above the 250 ms asked for.',
    ],
    [
      'whose CPU may be a whole core',
      { cpuShare: estimate(0.8, 0.25) },
      'warning',
      'It may not be enough: CPU is 80 % ± 25 % of a core, and may reach 100 %.',
    ],
    ['whose CPU stays below', { cpuShare: estimate(0.8, 0.24) }, 'good', 'CPU below 100 %'],
    [
      'whose highest rate may be too low',
      { ceilingPerSecond: estimate(12, 0.3) },
      'warning',
      'the highest rate is 12 events/s ± 30 %, and may be below the 10 events/s asked for.',
    ],
    [
      'whose highest rate is too low',
      { ceilingPerSecond: estimate(9, 0.3) },
      'bad',
      'It is not enough: a process delivers at most 9 of the 10 events/s asked for.',
    ],
  ] as const)('%s: %o is %s', (_, parts, tone, words) => {
    const judgement = judge(planWith(parts));
    expect(judgement.tone).toBe(tone);
    expect(judgement.text).toContain(words);
  });

  it('has its figures in the colour of their part of the verdict', () => {
    const tones = (parts: Partial<Judged>): readonly string[] => [
      cpuTone(planWith(parts)),
      latencyTone(planWith(parts)),
    ];
    expect(tones({})).toEqual(['plain', 'plain']);
    expect(tones({ cpuShare: estimate(1), p99Ms: estimate(207, 0.67) })).toEqual([
      'warning',
      'warning',
    ]);
    expect(tones({ p99Ms: estimate(300) })).toEqual(['plain', 'bad']);
  });
});
