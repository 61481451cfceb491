/** A socket with a receive buffer of its own: it must be set before the socket is connected, which Node does not offer. */
import { createRequire } from 'node:module';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;

interface Libc {
  socket(this: void, domain: number, type: number, protocol: number): number;
  setsockopt(this: void, descriptor: number, level: number, option: number, value: Buffer, bytes: number): number;
  connect(this: void, descriptor: number, address: Buffer, bytes: number): number;
}

let libc: Libc | undefined;

function loaded(): Libc {
  if (libc !== undefined) return libc;
  const koffi = createRequire(import.meta.url)('koffi') as {
    load(name: string): { func(declaration: string): (...given: unknown[]) => number };
  };
  const c = koffi.load('libc.so.6');
  libc = {
    socket: c.func('int socket(int, int, int)'),
    setsockopt: c.func('int setsockopt(int, int, int, void *, int)'),
    connect: c.func('int connect(int, void *, int)'),
  };
  return libc;
}

/** The descriptor of a socket that is connected to the port on 127.0.0.1; `bytes` as the kernel counts them, twice the payload. */
export function connectWithReceiveBuffer(port: number, bytes: number): number {
  const { socket, setsockopt, connect } = loaded();
  const descriptor = socket(AF_INET, SOCK_STREAM, 0);
  const half = Buffer.alloc(4);
  half.writeInt32LE(bytes >> 1);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  const isGood =
    descriptor >= 0 &&
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, half, half.length) === 0 &&
    connect(descriptor, address, address.length) === 0;
  if (!isGood) throw new Error(`no socket with a receive buffer of ${bytes} bytes to port ${port}`);
  return descriptor;
}
