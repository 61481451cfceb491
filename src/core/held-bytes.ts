/**
 * Bytes that the process holds in user space for clients, beside lines and rings: one account that
 * `--memory-budget`, `/-/memory` and the metrics read. Each field has one writer.
 */
export interface HeldBytes {
  /** Answers that their sockets have not taken. http/answer.ts */
  answers: number;
  /**
   * What WebSockets have not taken beside events, pongs among it, and what they have begun to send.
   * native/messages.ts
   */
  messages: number;
  /**
   * Bodies that are being received or wait, and events that wait for their ring.
   * core/publish-memory.ts
   */
  publishes: number;
}

export function makeHeldBytes(): HeldBytes {
  return { answers: 0, messages: 0, publishes: 0 };
}
