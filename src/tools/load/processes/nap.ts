/**
 * A process that checks its sockets after short sleeps instead of being woken by them, as a network
 * card with interrupt moderation does for a server. Woken for every send it would charge the
 * server's core for an interrupt to its own (in a virtual machine up to half of the time), and read
 * from a socket while the server still writes to it.
 */

const cell = new Int32Array(new SharedArrayBuffer(4));
let napMs = 0;

/** Sleeps so many ms between two turns of the loop; 0: until bytes come, as Node does by itself. */
export function nap(ms: number): void {
  const starts = napMs === 0 && ms > 0;
  napMs = ms;
  if (starts) setImmediate(turn);
}

function turn(): void {
  Atomics.wait(cell, 0, 0, napMs);
  if (napMs > 0) setImmediate(turn);
}
