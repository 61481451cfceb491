/** A pipe within this process. */
import { Duplex } from 'node:stream';

/** Two ends of a pipe. */
export function pipe(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const end = (other: number): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        setImmediate(() => ends[other]!.push(chunk));
        done();
      },
      destroy(error, done) {
        setImmediate(() => ends[other]!.push(null));
        done(error);
      },
    });
  ends.push(end(1), end(0));
  return ends as [Duplex, Duplex];
}
