// Every send() of a process, and every writev() of its server, logged and if wanted cut short by a
// small library under LD_PRELOAD (shim.c). Linux and a C compiler only.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Exit code of a probe that needs the log where it cannot be had. */
export const skipExitCode = 77;

const logHeaderBytes = 64;
const logRecordBytes = 16;
const logRecordLimit = 65536;

/** Whether this process runs under the shim. */
export function hasSendLog(): boolean {
  return process.env['HOLDLINE_SHIM_LOG'] !== undefined;
}

/**
 * The environment that puts a child under the shim with an empty log of its own; undefined where
 * there is no Linux or no compiler.
 */
export function makeSendLog():
  | { environment: Record<string, string>; remove: () => void }
  | undefined {
  const library = process.platform === 'linux' ? compileShim() : undefined;
  if (library === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'holdline-probe-'));
  const log = join(directory, 'sends');
  const file = openSync(log, 'w');
  ftruncateSync(file, logHeaderBytes + logRecordLimit * logRecordBytes);
  const header = Buffer.alloc(logHeaderBytes);
  header.writeInt32LE(-1, 12);
  writeSync(file, header, 0, logHeaderBytes, 0);
  closeSync(file);
  return {
    environment: { LD_PRELOAD: library, HOLDLINE_SHIM_LOG: log },
    remove: () => rmSync(directory, { recursive: true }),
  };
}

function compileShim(): string | undefined {
  const source = fileURLToPath(new URL('shim.c', import.meta.url));
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 12);
  const library = join(tmpdir(), `holdline-shim-${String(process.getuid?.() ?? 0)}-${hash}.so`);
  if (existsSync(library)) return library;
  const temporary = `${library}.${String(process.pid)}`;
  for (const compiler of ['cc', 'gcc', 'clang']) {
    const run = spawnSync(compiler, ['-O1', '-shared', '-fPIC', '-o', temporary, source, '-ldl']);
    if (run.status === 0) {
      renameSync(temporary, library);
      return library;
    }
  }
  return undefined;
}

/** `result` is what was taken, or the negative errno. `flags` is −1 for a writev(). */
export type Send = { fd: number; asked: number; result: number; flags: number };

/**
 * The shim's memory (shim.c), read and written through its file. node:net does not call send(), so
 * only the server is in it.
 */
export class SendLog {
  readonly #file: number;
  readonly #word = Buffer.alloc(4);

  constructor() {
    const path = process.env['HOLDLINE_SHIM_LOG'];
    if (path === undefined)
      throw new Error(
        'the log of send() calls is missing: run the probe through main() with { sendLog: true }',
      );
    this.#file = openSync(path, 'r+');
  }

  get count(): number {
    readSync(this.#file, this.#word, 0, 4, 0);
    return this.#word.readUInt32LE(0);
  }

  since(start: number): Send[] {
    const length = Math.min(this.count, logRecordLimit) - start;
    const raw = Buffer.alloc(Math.max(0, length) * logRecordBytes);
    readSync(this.#file, raw, 0, raw.length, logHeaderBytes + start * logRecordBytes);
    const sends: Send[] = [];
    for (let at = 0; at < raw.length; at += logRecordBytes) {
      sends.push({
        fd: raw.readInt32LE(at),
        asked: raw.readInt32LE(at + 4),
        result: raw.readInt32LE(at + 8),
        flags: raw.readInt32LE(at + 12),
      });
    }
    return sends;
  }

  /**
   * SO_SNDBUF of the next listening socket (accepted ones inherit it) and SO_RCVBUF of the next
   * clients; the kernel doubles both.
   */
  setBuffers(sendBytes: number, receiveBytes: number): void {
    this.#set(4, sendBytes);
    this.#set(8, receiveBytes);
  }

  /** From now on send() takes this many bytes in all and then answers EAGAIN; -1 lifts it. */
  setBudget(bytes: number): void {
    this.#set(12, bytes);
  }

  #set(offset: number, value: number): void {
    this.#word.writeInt32LE(value, 0);
    writeSync(this.#file, this.#word, 0, 4, offset);
  }
}

/** The calls in words: `8004→6144` asked and took, `100→EAGAIN`, `writev 20004→20004`. */
export function describeSends(sends: readonly Send[]): string {
  return sends
    .map(
      ({ asked, result, flags }) =>
        `${flags === -1 ? 'writev ' : ''}${String(asked)}→${result < 0 ? 'EAGAIN' : String(result)}`,
    )
    .join(' ');
}

/** Bytes that send() really took. */
export function takenBytes(sends: readonly Send[]): number {
  let sum = 0;
  for (const send of sends) sum += Math.max(0, send.result);
  return sum;
}
