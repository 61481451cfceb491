/** Figures as people read them, in English, with as few digits and the largest unit that fit. */

/** `1,234.5`: to so many decimals. */
export function decimal(value: number, decimals = 3): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: decimals });
}

/** `1,234`, `12.3`: three significant digits, or all of the integer. */
export function significant(value: number): string {
  return Math.abs(value) >= 1000
    ? decimal(value, 0)
    : value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

/** `1 process`, `1,234 processes`. */
export function count(value: number, one: string, many: string): string {
  return `${decimal(value)} ${value === 1 ? one : many}`;
}

/** `12.3 %` of a share of 0.123. */
export function percent(share: number, decimals = 1): string {
  return `${decimal(share * 100, decimals)} %`;
}

/** `1.5 million`, `123 thousand`, `9,999`. */
export function rough(value: number): string {
  if (value >= 1e6) return `${significant(value / 1e6)} million`;
  return value >= 1e5
    ? `${significant(value / 1e3)} thousand`
    : decimal(value, value < 100 ? 1 : 0);
}

/** `85.2 ms`, `1.25 s`, `15.4 min`. */
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

/** Words as a sentence: with a capital at the beginning and a full stop at the end. */
export function sentence(words: string): string {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? '' : '.'}`;
}
