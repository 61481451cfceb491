/**
 * Long work in slices of time: every turn of the loop gives all of it WORK_SLICE_MS together, in
 * small steps and in turn.
 */
import { WORK_SLICE_MS } from '../limits.js';

/**
 * Does a small part of the work, about 0.1 ms; true when all of it is done. May throw what the work
 * fails with.
 */
export type Step = () => boolean;

interface Work {
  readonly step: Step;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Work that is not done, in the order in which each has its next step. */
const waiting: Work[] = [];
let isScheduled = false;

/**
 * Resolves when the work is done, which begins in the next turn; rejects with what a step throws.
 */
export function inSlices(step: Step): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.push({ step, resolve, reject });
    schedule();
  });
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(runSlice);
}

function runSlice(): void {
  isScheduled = false;
  const endMs = performance.now() + WORK_SLICE_MS;
  do {
    const work = waiting.shift() as Work;
    try {
      if (work.step()) work.resolve();
      else waiting.push(work);
    } catch (error) {
      work.reject(error);
    }
  } while (waiting.length > 0 && performance.now() < endMs);
  if (waiting.length > 0) schedule();
}
