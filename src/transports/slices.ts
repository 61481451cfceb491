/**
 * Long work in slices of time: in each turn of the loop all of it together gets WORK_SLICE_MS, in
 * small steps and in turn.
 */
import { WORK_SLICE_MS } from '../limits.js';

/** Does a small part of the work, about 0.1 ms; true when it is done. May throw its failure. */
export type Step = () => boolean;

interface Work {
  readonly step: Step;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Unfinished work, in the order of the next steps. */
const waiting: Work[] = [];
let isScheduled = false;
/** When short work has had its time of this turn; 0 before the first of it. */
let turnEndsMs = 0;

/** Begins in the next turn. Resolves when the work is done; rejects with what a step throws. */
export function inSlices(step: Step): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.push({ step, resolve, reject });
    schedule();
  });
}

/**
 * True when short work, of which much may come in one turn, may be done at once: such work has not
 * had WORK_SLICE_MS in this turn, and nothing waits for its slice. Else it is for {@link inSlices}.
 */
export function hasTurnTime(): boolean {
  if (waiting.length > 0) return false;
  const nowMs = performance.now();
  if (turnEndsMs === 0) {
    turnEndsMs = nowMs + WORK_SLICE_MS;
    setImmediate(endTurn);
  }
  return nowMs < turnEndsMs;
}

function endTurn(): void {
  turnEndsMs = 0;
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
