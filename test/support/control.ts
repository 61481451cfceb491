/** The control subscriber that every hostile test carries: it must notice nothing. */
import { afterAll, beforeAll, expect } from 'vitest';
import { SseLine } from './line.js';
import { sharedHosted } from './hosted.js';
import type { ServerUnderTest } from './server-under-test.js';

/**
 * A line that sees every id published on its channel since it opened exactly once, in order,
 * without gap, end or reconnect.
 */
export class ControlLine {
  readonly line: SseLine;
  readonly channel: string;
  readonly #server: ServerUnderTest;
  readonly #from: number;
  #beats = 0;

  private constructor(server: ServerUnderTest, channel: string, line: SseLine) {
    this.#server = server;
    this.channel = channel;
    this.line = line;
    this.#from = server.published.get(channel)?.length ?? 0;
  }

  /** Opens it and sees one event of its own, so that it is known to be live. */
  static async open(server: ServerUnderTest, channel = 'control'): Promise<ControlLine> {
    const control = new ControlLine(
      server,
      channel,
      await SseLine.open(server.port, `/${channel}`),
    );
    await control.beat();
    return control;
  }

  /** Publishes one event and waits until this line has it. */
  async beat(): Promise<void> {
    const data = `beat ${++this.#beats}`;
    const id = await this.#server.publish(this.channel, data);
    await this.line.waitForId(id);
    expect(this.line.events.at(-1)).toMatchObject({ id, data });
  }

  /**
   * One more event; then everything that was published, and nothing else, must have come on the one
   * connection.
   */
  async noticedNothing(): Promise<void> {
    await this.beat();
    expect(this.line.ids).toEqual(this.#server.published.get(this.channel)!.slice(this.#from));
    expect(this.line.gaps).toEqual([]);
    expect({
      endCode: this.line.endCode,
      complete: this.line.complete,
      closed: this.line.closed,
    }).toEqual({
      endCode: undefined,
      complete: false,
      closed: false,
    });
  }
}

/**
 * One server and one control line for the tests of a file or of a describe block: what one test
 * does, the next one's must not notice.
 */
export function sharedControl(): () => { server: ServerUnderTest; control: ControlLine } {
  const server = sharedHosted();
  let control: ControlLine;
  beforeAll(async () => {
    control = await ControlLine.open(server());
  });
  afterAll(() => control.line.close());
  return () => ({ server: server(), control });
}
