/**
 * While it is measured a client looks for bytes after short naps and is not woken by them, as a
 * network card with interrupt moderation would do for a server. Woken for each of its sends it
 * would charge the server's core for an interrupt to the other core (in a virtual machine up to
 * half of its time), and read from a socket while the server still writes to it.
 */

const cell = new Int32Array(new SharedArrayBuffer(4));
let napMs = 0;

/** 0: sleeps until bytes come, as Node does by itself. */
export function nap(ms: number): void {
  const starts = napMs === 0 && ms > 0;
  napMs = ms;
  if (starts) setImmediate(turn);
}

function turn(): void {
  Atomics.wait(cell, 0, 0, napMs);
  if (napMs > 0) setImmediate(turn);
}
