/** The event that every subject publishes, 256 bytes of text, and the channel it goes to. */
import { eventData } from '../dist/tools/load/clients/event.js';

export const DATA_BYTES = 256;

/** The one channel of every subject. */
export const CHANNEL = 'bench';
export const PATH = `/${CHANNEL}`;

/** Data that no client expects, where only the server is of interest. */
export const ANY_DATA: Buffer = eventData('00000000', DATA_BYTES);

/** The bytes of one event as an SSE frame, without what the transport wraps around it. */
export function frameBytes(id: number): number {
  return `id: ${id}\ndata: \n\n`.length + DATA_BYTES;
}

/** An event as a row of NDJSON, without its line feed; the data must need no escapes. */
export function ndjsonEvent(id: number, data: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`{"id":${id},"channel":"${CHANNEL}","data":"`),
    data,
    Buffer.from('"}'),
  ]);
}
