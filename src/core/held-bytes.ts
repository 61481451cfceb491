/**
 * Bytes held in user space for clients, beside lines and rings: one account for `--memory-budget`,
 * `/-/memory` and the metrics. Each field has one writer.
 */
export interface HeldBytes {
  /** Answers that their sockets have not taken. http/answer.ts */
  answers: number;
  /**
   * Answers and pongs that WebSockets have not taken, and messages that they have begun to send.
   * native/messages.ts
   */
  messages: number;
  /** Bodies that are being received or wait, and queued events. core/publish-memory.ts */
  publishes: number;
}

export function makeHeldBytes(): HeldBytes {
  return { answers: 0, messages: 0, publishes: 0 };
}
