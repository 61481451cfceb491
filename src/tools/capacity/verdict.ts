/**
 * Whether a plan is enough for what was asked, judged by its figures with their margins of error.
 */

import type { Tone } from '../report/page.js';
import { decimal, duration, percent, rough } from '../report/words.js';
import type { Estimate, Plan } from './plan.js';

/** A figure with a larger margin may be anything, so the margin is not shown. */
const MARGIN_MAX = 1;

/** From this share of a core nothing is left for a peak, as people read it: 99.5 % is "100 %". */
const FULL_SHARE = 0.995;

/** The judgement: its sentence, and its colour. */
export interface Judgement {
  readonly tone: Exclude<Tone, 'plain'>;
  readonly text: string;
}

/** What the judgement needs to know of a plan. */
export type Judged = Pick<Plan, 'request' | 'cpuShare' | 'p99Ms' | 'ceilingPerSecond'>;

/** The margin of error in words, without how far the figure is beyond the measurement. */
export function marginOf({ plusMinus }: Estimate): string {
  return plusMinus > MARGIN_MAX ? 'very uncertain' : `± ${percent(plusMinus, 0)}`;
}

/**
 * Good only when the target is met at the bad end of every margin: p99 within what was asked, CPU
 * below a whole core, the rate within what a process delivers. Bad when an estimate itself misses
 * it.
 */
export function judge({ request, cpuShare, p99Ms, ceilingPerSecond }: Judged): Judgement {
  const asked = duration(request.p99Ms);
  const rate = `${decimal(request.eventsPerSecond)} events/s`;
  const misses = [
    ...(p99Ms.value > request.p99Ms
      ? [`p99 is ${withMargin(duration(p99Ms.value), p99Ms)}, above the ${asked} asked for`]
      : []),
    ...(ceilingPerSecond.value < request.eventsPerSecond
      ? [`a process delivers at most ${rough(ceilingPerSecond.value)} of the ${rate} asked for`]
      : []),
  ];
  if (misses.length > 0) return { tone: 'bad', text: `It is not enough: ${misses.join('; ')}.` };
  const doubts = [
    ...(mostOf(p99Ms) > request.p99Ms
      ? [
          `p99 is ${withMargin(duration(p99Ms.value), p99Ms)}, and may be above the ${asked} ` +
            `asked for${upTo(p99Ms, duration)}`,
        ]
      : []),
    ...cpuDoubts(cpuShare),
    ...(leastOf(ceilingPerSecond) < request.eventsPerSecond
      ? [
          `the highest rate is ${withMargin(`${rough(ceilingPerSecond.value)} events/s`, ceilingPerSecond)}, ` +
            `and may be below the ${rate} asked for`,
        ]
      : []),
  ];
  if (doubts.length > 0)
    return { tone: 'warning', text: `It may not be enough: ${doubts.join('; ')}.` };
  return {
    tone: 'good',
    text: `With every margin of error p99 stays within ${asked} and CPU below 100 %.`,
  };
}

/** The colour of the latency among the figures. */
export function latencyTone({ request, p99Ms }: Judged): Tone {
  if (p99Ms.value > request.p99Ms) return 'bad';
  return mostOf(p99Ms) > request.p99Ms ? 'warning' : 'plain';
}

/** The colour of CPU among the figures. */
export function cpuTone({ cpuShare }: Judged): Tone {
  return cpuDoubts(cpuShare).length > 0 ? 'warning' : 'plain';
}

function cpuDoubts(cpuShare: Estimate): string[] {
  if (cpuShare.value >= FULL_SHARE)
    return ['the core of each process is fully used, so nothing is left for a peak'];
  return mostOf(cpuShare) >= 1
    ? [`CPU is ${withMargin(percent(cpuShare.value), cpuShare)} of a core, and may reach 100 %`]
    : [];
}

function withMargin(value: string, estimate: Estimate): string {
  return estimate.plusMinus > MARGIN_MAX
    ? `${value} (very uncertain)`
    : `${value} ${marginOf(estimate)}`;
}

/** Says nothing of a margin that is not shown. */
function upTo(estimate: Estimate, words: (value: number) => string): string {
  return estimate.plusMinus > MARGIN_MAX ? '' : `, up to ${words(mostOf(estimate))}`;
}

function mostOf({ value, plusMinus }: Estimate): number {
  return value * (1 + plusMinus);
}

function leastOf({ value, plusMinus }: Estimate): number {
  return value * Math.max(0, 1 - plusMinus);
}
