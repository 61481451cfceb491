/** Progress of the measurement on stderr: a bar on a terminal, a row of text a step elsewhere. */

import { ProgressBar } from '../report/progress-bar.js';
import { percent } from '../report/words.js';

/** Shows it, unless it is to be quiet, until `hide` is called. */
export function showProgress(
  isQuiet: boolean,
  stream: NodeJS.WriteStream = process.stderr,
): { readonly progress: (share: number, next: string) => void; readonly hide: () => void } {
  if (isQuiet) return { progress: () => {}, hide: () => {} };
  if (!stream.isTTY) {
    return {
      progress: (share, next) =>
        void stream.write(`holdline: measuring, ${percent(share, 0)}: ${next}\n`),
      hide: () => {},
    };
  }
  const bar = new ProgressBar(stream);
  return {
    progress: (share, next) => bar.show(share, 'measuring', `, ${next}`),
    hide: () => bar.hide(),
  };
}
