/** Which options are set on the listening socket, and what is said if the kernel sets others. */
import { fc } from './support/properties.js';
import { describe, expect, it } from 'vitest';
import {
  deadPeerTimes,
  prepareSocketOptions,
  setOptions,
  type WantedSocketOptions,
} from '../src/native/socket-options.js';
import type { SocketFunctions } from '../src/native/libc.js';

const NOTHING: WantedSocketOptions = {
  socketSendBufferBytes: 0,
  socketReceiveBufferBytes: 0,
  notsentLowatBytes: 0,
  deadPeerTimeoutMs: 0,
};

/** A kernel that doubles buffers up to what it allows, and refuses one option. */
function kernel({ mostBytes = Infinity, refused = -1 } = {}): {
  libc: SocketFunctions;
  values: Map<string, number>;
} {
  const values = new Map<string, number>();
  const libc: SocketFunctions = {
    set(descriptor, level, option, value) {
      expect(descriptor).toBe(7);
      if (option === refused) return 92;
      values.set(
        `${level}/${option}`,
        level === 1 && option !== 9 ? 2 * Math.min(value, mostBytes) : value,
      );
      return 0;
    },
    get: (_descriptor, level, option) => values.get(`${level}/${option}`),
    portOf: () => undefined,
  };
  return { libc, values };
}

describe('the times of a dead peer', () => {
  it('end a line within its time, be it silent or written to in the last moment', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4_000, max: 3_600_000 }), (timeoutMs) => {
        const { userTimeoutMs, idleSeconds, intervalSeconds } = deadPeerTimes(timeoutMs);
        const silentMs = (idleSeconds + intervalSeconds) * 1000;
        // The kernel closes a silent line at its second check, or one interval later if the user
        // timeout is not over by then.
        expect(userTimeoutMs).toBeLessThanOrEqual(silentMs);
        expect(silentMs + userTimeoutMs).toBeLessThanOrEqual(0.95 * timeoutMs);
        expect(Math.min(idleSeconds, intervalSeconds)).toBeGreaterThanOrEqual(1);
      }),
    );
  });

  it('are not shorter than they have to be', () => {
    expect(deadPeerTimes(60_000)).toEqual({
      userTimeoutMs: 21_000,
      idleSeconds: 21,
      intervalSeconds: 6,
    });
    expect(deadPeerTimes(4_000)).toEqual({
      userTimeoutMs: 1_400,
      idleSeconds: 1,
      intervalSeconds: 1,
    });
  });
});

describe('what is wanted', () => {
  it('is set and read back, and what is not wanted is left alone', () => {
    const { libc, values } = kernel();
    const wanted = { ...NOTHING, socketSendBufferBytes: 65_536, notsentLowatBytes: 16_384 };
    expect(setOptions(7, wanted, libc)).toEqual({
      options: { sendBufferBytes: 131_072, notsentLowatBytes: 16_384 },
      problems: [],
    });
    expect([...values.keys()]).toEqual(['1/7', '6/25']);
  });

  it('of a dead peer is four options, and keepalive itself', () => {
    const { libc, values } = kernel();
    expect(setOptions(7, { ...NOTHING, deadPeerTimeoutMs: 60_000 }, libc)).toEqual({
      options: {
        userTimeoutMs: 21_000,
        keepaliveIdleSeconds: 21,
        keepaliveIntervalSeconds: 6,
        keepaliveProbes: 1,
      },
      problems: [],
    });
    expect(values.get('1/9')).toBe(1);
  });

  it('is said not to be so when the kernel gives less, with the command that allows it', () => {
    const { libc } = kernel({ mostBytes: 212_992 });
    const wanted = {
      ...NOTHING,
      socketSendBufferBytes: 1_048_576,
      socketReceiveBufferBytes: 212_992,
    };
    expect(setOptions(7, wanted, libc)).toEqual({
      options: { sendBufferBytes: 425_984, receiveBufferBytes: 425_984 },
      problems: [
        '--socket-send-buffer: the kernel gives 212992 of 1048576 bytes, limited by net.core.wmem_max; sysctl -w net.core.wmem_max=1048576 would allow it',
      ],
    });
  });

  it('is said not to be so when the kernel refuses it, and the rest is set all the same', () => {
    const { libc } = kernel({ refused: 18 });
    expect(
      setOptions(7, { ...NOTHING, deadPeerTimeoutMs: 60_000, notsentLowatBytes: 4096 }, libc),
    ).toEqual({
      options: { notsentLowatBytes: 4096 },
      problems: [
        'cannot set --dead-peer-timeout (TCP_USER_TIMEOUT to 21000: ENOPROTOOPT); without it a peer that vanished may be held for about 15 minutes',
      ],
    });
  });

  it('is nothing where all are 0', async () => {
    expect((await prepareSocketOptions(NOTHING, 0))(1)).toEqual({ options: {}, problems: [] });
  });

  it('cannot be set on a port that nobody here listens on, and that is said', async () => {
    const report = (await prepareSocketOptions({ ...NOTHING, socketSendBufferBytes: 65_536 }, 1))(
      1,
    );
    expect(report).toEqual({
      options: {},
      problems: [
        'cannot set --socket-send-buffer: no socket of this process listens on port 1; without it a reader that has stopped may look healthy for about 4 MB',
      ],
    });
  });
});
