/**
 * Reads a publisher's answers off one keep-alive connection: the status of each, and its body when
 * asked for.
 */

const HEAD_END = '\r\n\r\n';
const LENGTH_HEADER = /\r\ncontent-length: *(\d+)/i;

export class AnswerReader {
  readonly #onAnswer: (status: number, body: string) => void;
  #held = '';

  constructor(onAnswer: (status: number, body: string) => void) {
    this.#onAnswer = onAnswer;
  }

  feed(buffer: Buffer, byteCount: number): void {
    let text = buffer.toString('latin1', 0, byteCount);
    if (this.#held !== '') text = this.#held + text;
    let at = 0;
    for (;;) {
      const headEnd = text.indexOf(HEAD_END, at);
      if (headEnd === -1) break;
      const head = text.slice(at, headEnd);
      const bodyStart = headEnd + HEAD_END.length;
      const length = Number(LENGTH_HEADER.exec(head)?.[1] ?? 0);
      if (text.length < bodyStart + length) break;
      // "HTTP/1.1 200": the status stands at a fixed place.
      this.#onAnswer(Number(head.slice(9, 12)), text.slice(bodyStart, bodyStart + length));
      at = bodyStart + length;
    }
    this.#held = at === text.length ? '' : text.slice(at);
  }
}
