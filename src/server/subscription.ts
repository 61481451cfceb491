/** A subscription as the embedding program has it: an async iterator over a line. */
import type { LibraryLine } from '../transports/library.js';
import type { Subscription } from './api.js';

/* Of the class itself: what a program has put in their place would run in the middle of a sweep. */
// oxlint-disable-next-line typescript/unbound-method -- They are called with a signal.
const { addEventListener, removeEventListener } = EventTarget.prototype;

/** The functions that read a line, which a program may detach; a signal may close it. */
export function subscription(line: LibraryLine, signal: AbortSignal | undefined): Subscription {
  if (signal !== undefined) closeWith(line, signal);
  const reader: Subscription = {
    next: () => line.next(),
    return: () => {
      line.close();
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]: () => reader,
    get position() {
      return line.position;
    },
    get end() {
      return line.end;
    },
  };
  return reader;
}

function closeWith(line: LibraryLine, signal: AbortSignal): void {
  const close = (): void => line.close();
  try {
    if (signal.aborted) {
      close();
      return;
    }
    addEventListener.call(signal, 'abort', close);
  } catch (error) {
    // It only looks like a signal. Nobody would get the line, or could close it.
    close();
    throw error;
  }
  line.onClose = () => removeEventListener.call(signal, 'abort', close);
}
