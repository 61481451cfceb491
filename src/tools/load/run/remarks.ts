/** What the figures of a run do not say by themselves. */

import type { Outcome } from './run.js';

/** A sentence each, without a full stop. */
export function remarksOn({
  books,
  publisher,
  tally,
  bottlenecks,
  wasStopped,
  gaveUp,
  compress,
}: Outcome): string[] {
  const lines = books.checkedClients + books.countedClients;
  return [
    ...(wasStopped ? ['the run was ended early'] : []),
    ...(gaveUp === undefined ? [] : [`publishing ended early: ${gaveUp}`]),
    ...(books.published === 0 ? ['the server accepted no event'] : []),
    ...[...publisher.refusals].map(([reason, times]) => `${times} events were refused: ${reason}`),
    ...[...publisher.unknown].map(
      ([reason, times]) => `${times} events may not have been published: ${reason}`,
    ),
    ...(publisher.pending === 0
      ? []
      : [
          `${publisher.pending} events were not published, or their publish was not answered, by the end`,
        ]),
    ...(tally.refusedPolls === 0
      ? []
      : [`${tally.refusedPolls} polls were refused for a temporary reason and repeated`]),
    ...[...books.cutOff].map(
      ([reason, times]) =>
        `${times === 1 ? '1 client was' : `${times} clients were`} disconnected and missed what came after: ${reason}`,
    ),
    ...(books.unplacedClients === 0
      ? []
      : [
          `${books.unplacedClients} clients reconnected without knowing their position, or the server does not answer publishes with ids: what they received was not checked and is in no figure; --check 100% reads it`,
        ]),
    ...(compress && books.uncompressedLines > 0
      ? [
          books.uncompressedLines >= lines
            ? 'the server does not compress: every client asked for gzip and was answered without'
            : `${books.uncompressedLines} clients asked for gzip and were answered without`,
        ]
      : []),
    ...(books.unreadClients === 0
      ? []
      : [
          `the gzip of ${books.unreadClients} clients is no whole blocks that lines share; of them only bytes were counted, and what they received is in no other figure`,
        ]),
    ...(bottlenecks.length === 0
      ? []
      : [
          `this load client was the bottleneck, and the server may be able to do more: ${bottlenecks.join('; ')}`,
        ]),
  ];
}
