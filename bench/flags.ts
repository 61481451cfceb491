/** Numbers on the command line. */

export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    console.error(`--${flag} must be a whole number from 1 (got "${text}")`);
    process.exit(2);
  }
  return value;
}
