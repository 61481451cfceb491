/** Which rounds count, and what is said of those that do not. */
import { describe, expect, test } from 'vitest';
import {
  type Pace,
  type Verdict,
  counts,
  remarkOnDiscarded,
  roundsLeft,
  verdictOn,
} from './verdict.js';

describe('a round', () => {
  test.each<[string, Verdict, boolean, Pace]>([
    [
      'everything offered was done, nobody at a limit',
      'offer',
      true,
      { serverShare: 0.5, clientShare: 0.5, doneShare: 1 },
    ],
    [
      'everything offered was done, the client at its limit',
      'client',
      false,
      { serverShare: 0.5, clientShare: 0.97, doneShare: 1 },
    ],
    [
      'the server at its limit, the client below',
      'server',
      true,
      { serverShare: 0.98, clientShare: 0.8, doneShare: 0.3 },
    ],
    ['both at their limit', 'client', false, { serverShare: 1, clientShare: 1, doneShare: 0.3 }],
    [
      'something missing and nobody at a limit',
      'neither',
      false,
      { serverShare: 0.6, clientShare: 0.6, doneShare: 0.9 },
    ],
    [
      'a closed loop with the server at its limit',
      'server',
      true,
      { serverShare: 0.98, clientShare: 0.8 },
    ],
    [
      'a closed loop that waits for something else',
      'neither',
      false,
      { serverShare: 0.6, clientShare: 0.8 },
    ],
    [
      'a closed loop that waits for its log',
      'log',
      true,
      { serverShare: 0.6, clientShare: 0.8, waitsForLog: true },
    ],
    [
      'a client at its limit beside a log',
      'client',
      false,
      { serverShare: 0.6, clientShare: 1, waitsForLog: true },
    ],
  ])('%s', (_what, verdict, isKept, pace) => {
    expect(verdictOn(pace)).toBe(verdict);
    expect(counts({ verdict })).toBe(isKept);
  });
});

describe('a remark', () => {
  const rounds = (...verdicts: Verdict[]): { verdict: Verdict }[] =>
    verdicts.map((verdict) => ({ verdict }));

  test('is not made when every round counts', () => {
    expect(remarkOnDiscarded('x', rounds('offer', 'server'))).toEqual([]);
  });

  test('says how many were discarded and why', () => {
    expect(remarkOnDiscarded('x', rounds('offer', 'client', 'neither', 'client'))).toEqual([
      'x: 3 of 4 rounds were discarded (in 2 the client’s core was at its limit, in 1 no core was); the medians are of the others',
    ]);
  });

  test('says when none is left', () => {
    expect(remarkOnDiscarded('x', rounds('client'))).toEqual([
      'x: 1 of 1 rounds were discarded (in 1 the client’s core was at its limit); no figure is left',
    ]);
    expect(roundsLeft({ rounds: 1, discardedRounds: 1 })).toBe('all discarded');
    expect(roundsLeft({ rounds: 3, discardedRounds: 1 })).toBe('2 of 3');
  });
});
