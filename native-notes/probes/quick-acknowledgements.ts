// When the kernel of a reader acknowledges a write at once, which on one machine is work of the
// writer's core: right behind the write nothing is unacknowledged then.
import { readPortTotals } from '../../src/linux/sockets.js';
import { NotHere, heldStream, main, turn } from './support.js';
import type { ProbeResult, Row } from './support.js';

/** Short enough for no silence. */
const GAP_MS = 20;
const WRITES = 24;
/**
 * On a busy machine a pause may be as long as a silence, and a look so late that the reader's
 * kernel has acknowledged by itself meanwhile (after 40 ms): then the row is measured again.
 */
const PAUSE_MS_MAX = 190;
const LOOK_MS_MAX = 25;
const ATTEMPTS = 10;
/** Acknowledged at once at most (TCP_MAX_QUICKACKS in the kernel's net/tcp.h). */
const QUICK_MAX = 16;

interface Found extends Row {
  'bytes of a write': number;
  'silence before, ms': number;
  writes: number;
  'acknowledged at once': number;
}

export async function probe(): Promise<ProbeResult> {
  if (readPortTotals(1) === undefined) throw new NotHere('there is no /proc/net/tcp');
  const rows = [...(await measure(4096)), ...(await measure(16_376))];
  return {
    claim:
      'After a silence of more than 200 ms the kernel of a reader acknowledges writes at once, as many as half its window has, from 2 to 16; on one machine that is work of the writer’s send(). Else it does so when the reader reads, or after 40 ms.',
    holds: rows.every(({ 'silence before, ms': ms, 'acknowledged at once': quick }) =>
      ms > 200 ? quick >= 2 && quick <= QUICK_MAX : quick === 0,
    ),
    rows,
  };
}

async function measure(pieceBytes: number): Promise<Found[]> {
  const piece = Buffer.alloc(pieceBytes, 97);
  const { port, client, res } = await heldStream({ keep: false });
  /** Writes that were acknowledged at once, the first of them after a silence. */
  const countQuick = async (silenceMs: number, attempt = 1): Promise<number> => {
    let quick = 0;
    let isDisturbed = false;
    let lastMs = performance.now();
    for (let count = 0; count < WRITES; count++) {
      await turn(count === 0 ? silenceMs : GAP_MS);
      const nowMs = performance.now();
      const isSilence = count === 0 && silenceMs > PAUSE_MS_MAX;
      if (!isSilence && nowMs - lastMs > PAUSE_MS_MAX) isDisturbed = true;
      res.cork(() => void res.write(piece));
      if (readPortTotals(port)?.sendQueueBytes === 0) quick++;
      lastMs = performance.now();
      if (lastMs - nowMs > LOOK_MS_MAX) isDisturbed = true;
    }
    if (!isDisturbed) return quick;
    if (attempt === ATTEMPTS) throw new NotHere('a machine that is less busy');
    return countQuick(silenceMs, attempt + 1);
  };
  // The first ones of a connection are acknowledged at once, too.
  await countQuick(GAP_MS);
  const rows: Found[] = [];
  for (const silenceMs of [100, 400])
    rows.push({
      'bytes of a write': pieceBytes,
      'silence before, ms': silenceMs,
      writes: WRITES,
      'acknowledged at once': await countQuick(silenceMs),
    });
  client.destroy();
  return rows;
}

await main(import.meta.url, probe);
