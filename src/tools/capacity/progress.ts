/** Progress of the measurement on stderr: a bar on a terminal, a row of text a step elsewhere. */

import { SingleBar } from 'cli-progress';

const STEPS = 100;

/** Shows it, unless it is to be quiet, until `hide` is called. */
export function showProgress(
  isQuiet: boolean,
  stream: NodeJS.WriteStream = process.stderr,
): { readonly progress: (share: number, next: string) => void; readonly hide: () => void } {
  if (isQuiet) return { progress: () => {}, hide: () => {} };
  if (!stream.isTTY) {
    return {
      progress: (share, next) =>
        void stream.write(`holdline: ${Math.round(share * STEPS)} %, ${next}\n`),
      hide: () => {},
    };
  }
  const bar = new SingleBar({
    format: 'measuring [{bar}] {percentage} %, {next}',
    barsize: 24,
    stream,
    gracefulExit: false,
    clearOnComplete: true,
  });
  bar.start(STEPS, 0, { next: 'starting' });
  return {
    progress: (share, next) => bar.update(Math.round(share * STEPS), { next }),
    hide: () => bar.stop(),
  };
}
