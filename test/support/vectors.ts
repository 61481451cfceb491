/** Data that is awkward to carry: every reader must see what was published. */

/** Nearly what an event may be, characters. */
export const KB60 = 60_000;

/**
 * Name and data. SSE clients see CRLF and CR as LF: that format cannot carry which of them it was;
 * JSON can.
 */
export const VECTORS: readonly [string, string][] = [
  ['plain', 'hello'],
  ['nothing: an empty data field is an event with empty data', ''],
  ['LF', 'a\nb'],
  ['CR', 'a\rb'],
  ['CRLF', 'a\r\nb'],
  ['all three, doubled', 'a\n\nb\r\rc\r\n\r\nd\n\re'],
  ['breaks at both ends', '\n\r\na\r\n'],
  ['only breaks', '\n\n\n'],
  ['a blank', ' '],
  ['blanks at both ends', '  a  '],
  ['a BOM at the start', '\uFEFFhello'],
  ['a BOM in the middle and on a line of its own', 'a\uFEFFb\n\uFEFF\nc'],
  ['fields in the data', 'id: 5\ndata: x\nevent: y\nretry: 1\n: comment'],
  ['a colon first', ':a\n:b'],
  ['UTF-8 of every length', 'aé€😀\u{10FFFF}'],
  ['combining and joined characters', 'e\u0301 👩‍👩‍👧‍👦 \u202Ertl'],
  ['Unicode line breaks, which are none here', 'a\u2028b\u2029c\u0085d\u000Be\u000Cf'],
  ['control characters', '\u0000\u0001\t\u001b[31m\u007f'],
  ['noncharacters', '\uFFFE\uFFFF\uFFFD'],
  ['JSON', '{"a":[1,2,{"b":"\\u0000"}]}'],
  ['60 KB on one line, larger than one cork', 'x'.repeat(KB60)],
  ['60 KB of three-byte characters', '€'.repeat(KB60 / 3)],
  ['60 KB in lines of 200', `${'y'.repeat(199)}\n`.repeat(KB60 / 200)],
];
