/** What a supervisor in a test tells every worker. */
import { resolveOptions } from '../../src/options/settings.js';
import type { SupervisorParts } from '../../src/workers/supervisor.js';

export function welcomeOfAll(linesMax: number): SupervisorParts['welcome'] {
  return {
    port: 1,
    opsPort: undefined,
    linesMax,
    settings: { ...resolveOptions(), opsKey: 'k' },
    logLevel: 'silent',
    logFormat: 'json',
  };
}
