/** WebSockets as bytes, for actors: the handshake, and frames with a mask (RFC 6455). */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const TEXT = 1;
const PING = 9;
const PONG = 10;

interface FrameParts {
  readonly opcode: number;
  readonly fin?: boolean;
}

/** One frame, as latin1. */
function frame(payload: string, { opcode, fin = true }: FrameParts): string {
  const body = Buffer.from(payload);
  const head = Buffer.alloc(body.length < 126 ? 2 : body.length < 65_536 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | opcode;
  head[1] = 0x80 | (body.length < 126 ? body.length : body.length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(body.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(body.length), 2);
  for (let i = 0; i < body.length; i++) body[i]! ^= MASK[i % 4]!;
  return Buffer.concat([head, MASK, body]).toString('latin1');
}

export const frames = {
  /** What an actor of sockets sends first, and waits for. */
  opening(path: string, headers = ''): { readonly opening: string; readonly awaitsHead: true } {
    const opening =
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n${headers}\r\n`;
    return { opening, awaitsHead: true };
  },
  text: (payload: string): string => frame(payload, { opcode: TEXT }),
  ping: (bytes: number): string => frame('p'.repeat(bytes), { opcode: PING }),
  pong: (): string => frame('', { opcode: PONG }),
  /** The beginning of a message that goes on, and more of it. */
  begun: (bytes: number): string => frame('x'.repeat(bytes), { opcode: TEXT, fin: false }),
  continued: (bytes: number): string => frame('x'.repeat(bytes), { opcode: 0, fin: false }),
};
