/**
 * Figures as people read them, in English: thousands parted, and in the unit that leaves few
 * digits.
 */

/** `1,234.5`: to so many decimals. */
export function decimal(value: number, decimals = 3): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: decimals });
}

/** `12.3 %` of a share of 0.123. */
export function percent(share: number): string {
  return `${decimal(share * 100, 1)} %`;
}

/** `1.5 million`, `12.3 thousand`, `9,999`. */
export function rough(count: number): string {
  if (count >= 1e6) return `${significant(count / 1e6)} million`;
  return count >= 1e5
    ? `${significant(count / 1e3)} thousand`
    : decimal(count, count < 100 ? 1 : 0);
}

/** `85.2 ms`, `1.25 s`. */
export function duration(ms: number): string {
  if (ms >= 60_000) return `${significant(ms / 60_000)} min`;
  return ms >= 1000 ? `${significant(ms / 1000)} s` : `${significant(ms)} ms`;
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `23.4 MiB`. */
export function size(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${significant(bytes / 1024 ** power)} ${SIZES[power]!}`;
}

/** Three digits that matter, and never fewer than the whole number has. */
function significant(value: number): string {
  return Math.abs(value) >= 1000
    ? decimal(value, 0)
    : value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}
