/** The ops key of a server whose configuration has none: made once, and told in its log. */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { RunningSettings } from '../options/reload.js';
import type { Settings } from '../options/table.js';

export class MadeOpsKey {
  /** Undefined until one is needed. */
  #key: string | undefined;
  #isSaid = false;

  /** The settings with an ops key: their own, or else the made one. */
  addTo(settings: Settings): RunningSettings {
    return { ...settings, opsKey: settings.opsKey ?? this.#made() };
  }

  /**
   * Says the key when a server first runs with it. A given key is never logged; for this one the
   * log is the only place.
   */
  sayIfUsed(log: Pick<Logger, 'info'>, { opsKey }: RunningSettings): void {
    if (this.#isSaid || opsKey !== this.#key) return;
    this.#isSaid = true;
    log.info({ opsKey }, 'ops key made for this run');
  }

  #made(): string {
    this.#key ??= randomBytes(24).toString('base64url');
    return this.#key;
  }
}
