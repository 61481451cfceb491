/** What an operator should know about the settings of a server that starts. */

import { logCautions } from './log-settings.js';
import { isLoopback, splitHostAndPort } from './place-kinds.js';
import { hasSubscribeRule, isPublishingOff } from './settings.js';
import type { Settings } from './table.js';

/** Warnings about the settings, one sentence each. */
export function cautions(settings: Settings): string[] {
  return [
    ...(settings.firstId === undefined || settings.log !== 'memory'
      ? []
      : [
          `ids start at ${settings.firstId} again after a restart (--first-id): clients that come ` +
            'back may miss events without a gap notice',
        ]),
    ...(settings.openPublish && !isLoopback(settings.host)
      ? [`everyone who reaches ${settings.host} may publish (--open-publish)`]
      : []),
    ...(settings.tlsCert !== undefined && !isLoopback(opsHostOf(settings))
      ? ['--ops-listen is plain HTTP: the ops key travels readable; use a loopback address']
      : []),
    ...(isPublishingOff(settings)
      ? ['nobody may publish: give --publish-key, --keys-file, --jwt-… or --open-publish']
      : []),
    ...(isLoopback(settings.host) || settings.openSubscribe || hasSubscribeRule(settings)
      ? []
      : [
          `everyone who reaches ${settings.host} may read every channel: nothing says who may ` +
            '(--keys-file, --jwt-…, --ticket-secret-file; --open-subscribe if that is meant)',
        ]),
    ...logCautions(settings),
  ];
}

/** The host of `--ops-listen`; one of this machine where it is not given. */
function opsHostOf({ opsListen }: Settings): string {
  return (opsListen === undefined ? undefined : splitHostAndPort(opsListen)?.host) ?? '127.0.0.1';
}
