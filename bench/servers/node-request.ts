/**
 * Shared by the rivals on `node:http`: reading a body, and an accept queue that does not overflow
 * when all clients connect at once.
 */
import type { IncomingMessage } from 'node:http';

/** Node's default is 511; the kernel caps it at net.core.somaxconn. */
export const BACKLOG = 4096;

export async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
