/** What is known of an open line, for the hooks of the embedding program. */
import type { Owners } from './owners.js';
import type { Transport } from './transport.js';

export interface LineFacts {
  /** Unique in the life of the process, counted up from 1. */
  readonly id: number;
  /** The person or program behind it, where a credential or the program said so. */
  readonly user: string | undefined;
  readonly channels: readonly string[];
  readonly transport: Transport;
  /** Where the client's address is known. */
  readonly remoteAddress?: string;
}

export function factsOf(
  owners: Owners,
  handle: number,
  channels: readonly string[],
  transport: Transport,
): LineFacts {
  const facts = { id: owners.idOf(handle), user: owners.userOf(handle), channels, transport };
  const remoteAddress = owners.addressOf(handle);
  return remoteAddress === undefined ? facts : { ...facts, remoteAddress };
}
