// How many bytes the kernel takes for a reader that never reads, before the first short send(), by
// the listening socket's SO_SNDBUF.
import { SendLog, takenBytes } from './send-log.js';
import { heldStream, main } from './support.js';
import type { ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const rows: Row[] = [];
  const found: number[] = [];
  const piece = Buffer.alloc(16376, 97);
  for (const [name, sendBytes] of [
    ['default', 0],
    ['SO_SNDBUF 64 KiB on the listener', 65536],
    ['SO_SNDBUF 16 KiB on the listener', 16384],
  ] as const) {
    log.setBuffers(sendBytes, 0);
    const start = log.count;
    const { client, res } = await heldStream({ paused: true, keep: false });
    let corks = 0;
    let open = true;
    while (open) {
      res.cork(() => (open = res.write(piece)));
      corks++;
    }
    const taken = takenBytes(log.since(start));
    found.push(taken);
    rows.push({
      'listening socket': name,
      'corks of 16 KiB until write() is false': corks,
      'KiB the kernel took': Math.round(taken / 1024),
    });
    client.destroy();
  }
  const [byDefault = 0, , small = 0] = found;
  return {
    claim:
      'For a reader that never reads the kernel takes megabytes before a write is refused; SO_SNDBUF on the listening socket is inherited and reduces that to about a hundred KiB.',
    holds: byDefault > 1_000_000 && small < 400_000,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
