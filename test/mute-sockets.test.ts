/** The search for sockets that have never sent a byte, where it cannot look. */
import { expect, test, vi } from 'vitest';
import { MuteSockets } from '../src/native/mute-sockets.js';

let problem: string | undefined;

vi.mock('node:fs', async (load) => {
  const fs = await load<typeof import('node:fs')>();
  const readdirSync = (path: string): string[] => {
    if (problem !== undefined) throw Object.assign(new Error(problem), { code: problem });
    return fs.readdirSync(path);
  };
  return { ...fs, readdirSync };
});

// It is asked within a callback of the native code, where nobody catches.
test.each(['EMFILE', 'ENFILE', 'ENOENT'])(
  'a full server that cannot list its descriptors (%s) closes none, and goes on',
  async (code) => {
    const mute = await MuteSockets.load();
    mute.listensOn(1);
    let closed = 0;
    problem = code;
    try {
      expect(mute.takePlace(() => closed++)).toBe(false);
    } finally {
      problem = undefined;
    }
    expect(closed).toBe(0);
  },
);
