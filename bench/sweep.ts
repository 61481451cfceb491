/**
 * The sweep alone: the fan-out with the publisher inside the server, beside the throw-away loop
 * that the pump came from. No post is read, waits or is refused on the core that writes to lines.
 */
import { fanOutWith } from './fan-out.js';

export const measureSweep = fanOutWith(
  {
    targets: ['holdline', 'slice-loop'],
    ratesPerSecond: [10, 100, 1000],
    rounds: 4,
  },
  { publishesInside: true },
);
