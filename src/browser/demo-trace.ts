/**
 * The raw bytes of a line on the demo page. A pane begins with a whole line, also when it is
 * scrolled to its end and when older lines have gone.
 */

/** Characters that a pane keeps; older lines go, and what a single line has beyond is left out. */
const TRACE_CHARS = 4096;
/** Where a line begins: behind a line break, and each event of the array that answers a poll. */
const LINES = /(?<=\n)|(?<=\},)(?=\{"(?:id|gap)":)/;
/** A pane that is this close to where it was scrolled to follows what comes, pixels. */
const FOLLOW_PX = 4;

/**
 * The text in pieces, with places between them where it may wrap: JSON behind a comma, URLs behind
 * `/`, `?` and `&`. It is copied as it was.
 */
export function breakable(text: string): (string | HTMLElement)[] {
  return text
    .split(/(?<=[,?&]|\w\/)(?=.)/s)
    .flatMap((piece, index) => (index === 0 ? [piece] : [document.createElement('wbr'), piece]));
}

export class Trace {
  readonly #pane: HTMLElement;
  #chars = 0;
  /** The line that the next text continues; undefined at the start of a line. */
  #open: HTMLElement | undefined;
  /** Characters of the open line. */
  #openChars = 0;
  #follows = true;
  /** Where it was scrolled to last, and the pane's size then. */
  #scrolledTo = 0;
  #size = '';
  #isDue = false;

  constructor(pane: HTMLElement) {
    this.#pane = pane;
    pane.addEventListener('scroll', () => this.#look(), { passive: true });
    new ResizeObserver(() => {
      if (this.#follows) this.#toEnd();
    }).observe(pane);
  }

  /** Adds text: bytes as they were received, or a note of the page, which begins a line. */
  add(text: string, isNote: boolean): void {
    if (text === '') return;
    this.#look();
    if (isNote && this.#open !== undefined) this.#put('\n', false);
    text.split(LINES).forEach((piece, index) => {
      if (index > 0) this.#close();
      this.#put(piece, isNote);
    });
    while (this.#chars > TRACE_CHARS && this.#pane.childElementCount > 1) {
      const oldest = this.#pane.firstElementChild!;
      this.#chars -= oldest.textContent.length;
      oldest.remove();
    }
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#follows) this.#toEnd();
    });
  }

  /** Adds text without line breaks, or with one at its end. */
  #put(piece: string, isNote: boolean): void {
    const isEnd = piece.endsWith('\n');
    const room = TRACE_CHARS - this.#openChars;
    const words = isEnd ? piece.slice(0, -1) : piece;
    const shown = words.length <= room ? words : `${words.slice(0, Math.max(0, room))}…`;
    const line = this.#open ?? document.createElement('div');
    if (this.#open === undefined) this.#pane.append(line);
    if (room >= 0 || isEnd) {
      const span = document.createElement('span');
      span.className = isNote ? 'note' : 'bytes';
      span.append(...(room >= 0 ? breakable(shown) : []), isEnd ? '\n' : '');
      line.append(span);
      this.#chars += span.textContent.length;
    }
    this.#open = line;
    this.#openChars += words.length;
    if (isEnd) this.#close();
  }

  #close(): void {
    this.#open = undefined;
    this.#openChars = 0;
  }

  #look(): void {
    // A new size moves it, too, and so do lines that go: neither is a wish to stay there.
    if (this.#isDue || this.#sizeNow !== this.#size) return;
    this.#follows = this.#pane.scrollTop >= this.#scrolledTo - FOLLOW_PX;
  }

  get #sizeNow(): string {
    return `${this.#pane.clientWidth}×${this.#pane.clientHeight}`;
  }

  /**
   * Scrolls to the end, and on to the next whole line if the pane would begin inside one. A last
   * line that is longer than the pane is shown from its start.
   */
  #toEnd(): void {
    const pane = this.#pane;
    pane.style.paddingBottom = '0';
    const end = pane.scrollHeight - pane.clientHeight;
    const top = (line: Element): number =>
      line.getBoundingClientRect().top - pane.getBoundingClientRect().top + shift;
    const shift = pane.scrollTop - pane.clientTop;
    const lines = [...pane.children];
    let to = end;
    if (end > 0) {
      const last = lines.at(-1)!;
      const first = lines.find((line) => top(line) >= end - 0.5 && line.textContent !== '\n');
      to = top(first ?? last);
      if (to > end) pane.style.paddingBottom = `${to - end}px`;
    }
    pane.scrollTop = to;
    this.#scrolledTo = pane.scrollTop;
    this.#size = this.#sizeNow;
  }
}
