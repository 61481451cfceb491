/** Event types: what may stand behind `event: ` and mean what the publisher meant. */
import { createParser } from 'eventsource-parser';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { checkEventType } from '../src/core/event.js';
import { SSE } from '../src/core/frame.js';

const refused: unknown = expect.objectContaining({ code: 'HOLDLINE_BAD_EVENT_TYPE' });

describe('event types', () => {
  test.each([
    'a',
    'notice',
    'x'.repeat(64),
    'with blank',
    ' leading',
    'trailing ',
    'a:b',
    ':a',
    '"quoted"',
    'é',
    '漢字',
    '😀',
    'message',
    'Gap',
    'gap2',
    'constructor',
  ])('%j is fine', (type) => {
    expect(checkEventType(type)).toBe(type);
  });

  test.each([
    '', 'x'.repeat(65), '😀'.repeat(33), 'a\nb', 'a\rb', 'a\0b', '\n', 'a\tb', '\x7f', '\x85', '\x1b[0m', 'a\u2028b', 'a\u2029b', '\u200b', '\uFEFFa',
    '\u202Ea', '\uD800', 'a\uDFFF', '\uE000', '\uFFFF',
  ])('%j is not 1 to 64 printable characters', (type) => {
    expect(() => checkEventType(type)).toThrow(refused);
  }); // prettier-ignore

  test.each(['gap', 'end', 'open', 'error'])('%s is reserved and the refusal says so', (type) => {
    expect(() => checkEventType(type)).toThrow(refused);
    expect(() => checkEventType(type)).toThrow(/reserved/);
  });

  test('a refusal shows at most 64 characters of what was given', () => {
    expect(() => checkEventType('x'.repeat(100_000))).toThrow(/^.{1,200}$/);
  });

  test('a type that is accepted arrives as it was, and never breaks out of its field', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 64 }), (type) => {
        try {
          checkEventType(type);
        } catch {
          return;
        }
        const seen: unknown[] = [];
        const frame = SSE.encode({
          id: 1,
          channel: 'c',
          type,
          data: Buffer.from('x'),
          json: false,
        });
        createParser({ onEvent: (message) => void seen.push(message) }).feed(frame.toString());
        expect(seen).toEqual([{ id: '1', event: type, data: 'x' }]);
      }),
      { numRuns: 1000 },
    );
  });
});
