/** The mechanisms by name: the winner and the losers. */
import { ClosurePerWrite } from './closure-per-write.js';
import { BufferRing, StringRing } from './frame-ring.js';
import type { Mechanism } from './mechanism.js';
import { PackedSlab } from './packed-slab.js';
import { SetOfResponses } from './set-of-responses.js';
import { WritePerEvent } from './write-per-event.js';

export const MECHANISMS = {
  'packed-slab': {
    title: 'packed rows, one slab, all in one cork',
    make: (): Mechanism => new PackedSlab(),
  },
  'set-of-responses': { title: 'a Set of responses', make: (): Mechanism => new SetOfResponses() },
  'closure-per-write': {
    title: 'a closure for each write',
    make: (): Mechanism => new ClosurePerWrite(),
  },
  'buffer-ring': { title: 'a ring of Buffers', make: (): Mechanism => new BufferRing() },
  'string-ring': { title: 'a ring of strings', make: (): Mechanism => new StringRing() },
  'write-per-event': {
    title: 'one write for each event',
    make: (): Mechanism => new WritePerEvent(),
  },
} as const;

export type MechanismName = keyof typeof MECHANISMS;
