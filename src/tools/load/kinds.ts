/** The kinds of option value that only the load tool has: URLs, shares, rates, slow readers. */

import { LOAD_SLOW_BYTES_MAX } from '../../limits.js';
import { form, yesOrNo, type Kind } from '../../options/kinds.js';

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2 };

/** A URL of plain HTTP with any path and query, without user and fragment, in the form of `URL`. */
export function streamUrl(accepted: string): Kind<string> {
  return form('URL', accepted, (text) =>
    // The pattern first: URL repairs much of what is mistyped, and would go somewhere else.
    /^http:\/\/[^\s/?#@]{1,255}\/[^\s#]*$/i.test(text) && URL.canParse(text)
      ? new URL(text).href
      : undefined,
  );
}

/** `5%` → 0.05. */
function readPercent(text: string): number | undefined {
  const percent = /^(\d{1,3}(?:\.\d{1,4})?)%$/.exec(text)?.[1];
  // Rounded, since the quotient may be off by a binary rounding error.
  const value = percent === undefined ? Number.NaN : Number((Number(percent) / 100).toFixed(6));
  return value <= 1 ? value : undefined;
}

function percentText(value: number): string {
  return `${Number((value * 100).toFixed(4))}%`;
}

/** A share: `1%` is 0.01. */
export function share(): Kind<number> {
  return form('SHARE', 'a share from 0% to 100%, such as 1% or 0.5%', readPercent, percentText);
}

/** A rate: `500/s`. */
export function perSecond(min: number, max: number): Kind<number> {
  const read = (text: string): number | undefined => {
    const rate = Number(/^(\d{1,9})\/s$/.exec(text)?.[1]);
    return rate >= min && rate <= max ? rate : undefined;
  };
  return form(
    'RATE',
    `a rate from ${min}/s to ${max}/s, such as 500/s`,
    read,
    (rate) => `${rate}/s`,
  );
}

/** A share in each minute: `2%/min` is 0.02. */
export function sharePerMinute(): Kind<number> {
  const read = (text: string): number | undefined =>
    text.endsWith('/min') ? readPercent(text.slice(0, -4)) : undefined;
  return form(
    'SHARE/min',
    'a share in a minute from 0%/min to 100%/min, such as 2%/min',
    read,
    (value) => `${percentText(value)}/min`,
  );
}

/** Clients that read slowly, and what each of them reads. */
export interface SlowReaders {
  readonly share: number;
  readonly bytesPerSecond: number;
}

/** `5%:8KiB/s`: one in twenty reads 8,192 bytes a second. */
export function slowReaders(): Kind<SlowReaders> {
  const read = (text: string): SlowReaders | undefined => {
    const parts = /^([^:]+):(\d{1,9})(B|KiB|MiB)\/s$/.exec(text);
    const ofAll = readPercent(parts?.[1] ?? '');
    const bytesPerSecond = parts === null ? 0 : Number(parts[2]) * UNITS[parts[3]!]!;
    return ofAll === undefined || bytesPerSecond === 0 || bytesPerSecond > LOAD_SLOW_BYTES_MAX
      ? undefined
      : { share: ofAll, bytesPerSecond };
  };
  return form(
    'SHARE:SIZE/s',
    `a share and what each of them reads, up to ${LOAD_SLOW_BYTES_MAX / UNITS['MiB']!}MiB/s, such as 5%:8KiB/s`,
    read,
    (slow) => `${percentText(slow.share)}:${slow.bytesPerSecond}B/s`,
  );
}

/**
 * Whether to ask for gzip. The server has an option of the same name, and so of the same variable:
 * its words count, too.
 */
export function gzipOrNot(): Kind<boolean> {
  const kind = yesOrNo();
  return {
    ...kind,
    accepted: `${kind.accepted}, or shared or off as on the server`,
    readText: (text) => (text === 'shared' ? true : text === 'off' ? false : kind.readText(text)),
  };
}
