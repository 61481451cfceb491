/** What is thrown for a log on disk, or a copy of one, that cannot be used. */
import { asError, HoldlineError } from '../../errors.js';

export function badLog(words: string): HoldlineError {
  return new HoldlineError('HOLDLINE_BAD_LOG', words);
}

/** For a directory that is there, or may be, and has no log. */
export function noLogIn(directory: string): HoldlineError {
  return badLog(`there is no log in the directory ${JSON.stringify(directory)}`);
}

/** For a directory that the system does not let be made, read or written. */
export function badDirectory(
  directory: string,
  error: unknown,
  act: 'made' | 'used' = 'used',
): HoldlineError {
  return badLog(
    `the directory ${JSON.stringify(directory)} cannot be ${act}: ${reasonOf(error, act)}`,
  );
}

function reasonOf(error: unknown, act: 'made' | 'used'): string {
  const { code, message } = asError(error) as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return act === 'used' ? 'it is not there' : 'the system makes none there';
    case 'EEXIST':
    case 'ENOTDIR':
      return 'it, or what it is in, is a file';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not';
    case 'EROFS':
      return 'its file system is read-only';
    case 'ENOSPC':
    case 'EDQUOT':
      return `there is no room on the disk (${code})`;
    case undefined:
    default:
      return message;
  }
}
