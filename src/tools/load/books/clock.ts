/** The clock of a run, the same in every process of the machine. */

import process from 'node:process';

/** Readings of both clocks; in the one that took least time nothing came between them. */
const CLOCK_READINGS = 20;

/**
 * What is added to the clock of this process, which begins with it, to have the one that all
 * processes of a machine share.
 */
const CLOCK_ORIGIN_US = clockOriginUs();

/**
 * The clock of publisher and clients, in whichever process they are: CLOCK_MONOTONIC in
 * microseconds. Allocates nothing.
 */
export function nowUs(): number {
  return CLOCK_ORIGIN_US + performance.now() * 1000;
}

function clockOriginUs(): number {
  let originUs = 0;
  let shortestUs = Infinity;
  for (let reading = 0; reading < CLOCK_READINGS; reading++) {
    const beforeUs = performance.now() * 1000;
    const monotonicUs = Number(process.hrtime.bigint()) / 1000;
    const afterUs = performance.now() * 1000;
    if (afterUs - beforeUs >= shortestUs) continue;
    shortestUs = afterUs - beforeUs;
    originUs = monotonicUs - (beforeUs + afterUs) / 2;
  }
  return originUs;
}
