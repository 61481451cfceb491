/**
 * What bounds the lines of a machine: some of the facts that `holdline doctor` reads, and the speed
 * of the network.
 */

import { readdirSync } from 'node:fs';
import { readText } from '../../linux/files.js';
import type { Machine } from '../doctor/machine.js';
import type { Limits } from './profile.js';

const NETWORK_CARDS = '/sys/class/net';
const MEGABIT = 1_000_000;

/** The limits among the doctor's facts. */
export function limitsOf(machine: Machine, linkBitsPerSecond: number | undefined): Limits {
  const { cores, fileLimit, fileCeiling, portRange, tcpMemoryBytes, tcpSendBytes } = machine;
  return {
    cores: Math.max(1, Math.floor(cores)),
    memoryBytes: Math.min(machine.memoryBytes, machine.cgroupMemoryBytes),
    ...(fileLimit === undefined || !Number.isFinite(fileLimit) ? {} : { fileLimit }),
    ...(fileCeiling === undefined ? {} : { fileCeiling }),
    ...(portRange === undefined ? {} : { portRange: [...portRange] }),
    ...(tcpMemoryBytes === undefined ? {} : { tcpMemoryBytes: [...tcpMemoryBytes] }),
    ...(tcpSendBytes === undefined ? {} : { sendBufferMostBytes: tcpSendBytes[2] }),
    ...(linkBitsPerSecond === undefined ? {} : { linkBitsPerSecond }),
  };
}

/**
 * The speed of the slowest network card that has a link. Cards without a device are virtual and
 * report any speed, so they do not count.
 */
export function readLinkSpeed(): number | undefined {
  const speeds = cards().map(
    (card) => Number(readText(`${NETWORK_CARDS}/${card}/speed`) ?? Number.NaN) * MEGABIT,
  );
  const known = speeds.filter((speed) => speed > 0);
  return known.length === 0 ? undefined : Math.min(...known);
}

function cards(): string[] {
  try {
    return readdirSync(NETWORK_CARDS).filter(
      (card) => readText(`${NETWORK_CARDS}/${card}/device/uevent`) !== undefined,
    );
  } catch {
    return [];
  }
}
