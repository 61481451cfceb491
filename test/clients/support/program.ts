/**
 * The program of a stranger: it parses the data of every event that its client library hands to it,
 * and lets the library have what it throws.
 */
import { Watched } from '../../support/wire.js';

export class Program extends Watched {
  /** The numbers of the events `{"n":1}` that were handed over, in order. */
  readonly numbers: number[] = [];
  /** Types of the notices of the server itself: gap, end. */
  readonly notices: string[] = [];
  /** Times that the data was no JSON. */
  thrown = 0;

  /** The handler of every event. */
  readonly take = (type: string, data: string): void => {
    try {
      const value = JSON.parse(data) as { readonly n: number };
      if (type === 'gap' || type === 'end') this.notices.push(type);
      else this.numbers.push(value.n);
    } catch (error) {
      this.thrown++;
      throw error;
    } finally {
      this.changed();
    }
  };

  describe(): string {
    return `numbers ${this.numbers.join()}, notices ${this.notices.join()}, thrown ${this.thrown}`;
  }
}
