/** fast-check, from {@link SEED} on. What it says of a failure has the seed that replays it. */
import fc from 'fast-check';
import { SEED } from './seed.js';

fc.configureGlobal({ seed: SEED });

export { fc };
