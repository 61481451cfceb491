// How many send() calls a cork makes: one up to 16,384 wire bytes, none for nothing.
import { SendLog } from './send-log.js';
import { chunkWireBytes, decodeChunked, heldStream, main, turn, until } from './support.js';
import type { ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const log = new SendLog();
  const { client, res } = await heldStream();
  const data = Buffer.alloc(65536, 97);
  const rows: Row[] = [];
  const counts = new Map<string, string>();
  let written = 1;
  const run = async (name: string, lengths: number[]): Promise<void> => {
    const mark = log.count;
    res.cork(() => {
      for (const length of lengths) res.write(data.subarray(0, length));
    });
    const sends = log.since(mark);
    written += lengths.reduce((sum, length) => sum + length, 0);
    const sizes = sends.map((send) => send.asked).join(' + ');
    counts.set(name, sizes);
    const wireBytes = lengths.reduce(
      (sum, length) => sum + (length === 0 ? 0 : chunkWireBytes(length)),
      0,
    );
    rows.push({
      'one cork of': name,
      'wire bytes': wireBytes,
      'send() calls': sends.length,
      'bytes of each': sizes,
    });
    await turn();
  };
  await run('256', [256]);
  await run('3 × 256', [256, 256, 256]);
  await run('16,376', [16376]);
  await run('16,377', [16377]);
  await run('8,000 + 8,000', [8000, 8000]);
  await run('8,000 + 8,369', [8000, 8369]);
  await run('8,000 + 8,000 + 8,000', [8000, 8000, 8000]);
  await run('65,536', [65536]);
  await run('0', [0]);
  await until(() => decodeChunked(client.bytes()).body.length === written, 'every byte');
  return {
    claim:
      'A cork of up to 16,384 wire bytes (write: length + 4 + hex digits; largest single write 16,376) is one send(); one byte more is two.',
    holds:
      counts.get('256') === '263' &&
      counts.get('3 × 256') === '789' &&
      counts.get('16,376') === '16384' &&
      counts.get('16,377') === '8 + 16377' &&
      counts.get('0') === '' &&
      decodeChunked(client.bytes()).corruptAt < 0,
    rows,
  };
}

await main(import.meta.url, probe, { sendLog: true });
