/** Numbers off the command line, refused in words. */

export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) {
    console.error(`--${flag} was "${text}"; a whole number from 1 is accepted`);
    process.exit(2);
  }
  return value;
}
