/** A log entry as a person reads it at a terminal. */
import { Writable } from 'node:stream';
import { pino, stdTimeFunctions, type Logger } from 'pino';
import { describe, expect, it } from 'vitest';
import { logText, mayColour } from '../src/log-text.js';

const PLAIN = { colour: false };

/** What pino writes, as text; the time of day becomes a T. */
function logged(log: (to: Logger) => void, options = PLAIN): string {
  let text = '';
  const out = new Writable({
    write(line: Buffer, _encoding, done) {
      text += logText(line.toString(), options);
      done();
    },
  });
  log(pino({ level: 'trace', timestamp: stdTimeFunctions.isoTime }, out));
  return text.replaceAll(/\d\d:\d\d:\d\d\.\d{3}/g, 'T');
}

describe('an entry', () => {
  it('is one line: time, level, message, fields', () => {
    expect(
      logged((log) => log.info({ host: '::1', port: 8080, why: 'two words' }, 'listening')),
    ).toBe('T info  listening host=::1 port=8080 why="two words"\n');
    expect(logged((log) => log.warn('nobody may publish'))).toBe('T warn  nobody may publish\n');
    expect(logged((log) => log.debug({ deep: { a: [1] }, none: null, empty: '' }, 'x'))).toBe(
      'T debug x deep={"a":[1]} none=null empty=""\n',
    );
  });

  it('has the local time of day', () => {
    const at = new Date(2026, 10, 26, 9, 5, 7, 45);
    const line = JSON.stringify({ level: 30, time: at.toISOString(), msg: 'x' });
    expect(logText(line, PLAIN)).toBe('09:05:07.045 info  x\n');
  });

  it('gives an address that stands alone a line of its own', () => {
    const url = 'http://127.0.0.1:8080/-/demo';
    expect(logged((log) => log.info({ url }, 'open the demo in a browser'))).toBe(
      `T info  open the demo in a browser\n  ${url}\n`,
    );
    expect(logged((log) => log.info({ url, port: 1 }, 'listening'))).toBe(
      `T info  listening url=${url} port=1\n`,
    );
  });

  it('has the stack of its error behind it', () => {
    const text = logged((log) => log.error({ err: new Error('broken'), suppressed: 2 }, 'oh'));
    expect(text).toMatch(/^T error oh suppressed=2\n {4}Error: broken\n {4} +at .+\n/);
    expect(logged((log) => log.error({ err: 'a text' }, 'oh'))).toBe('T error oh\n    "a text"\n');
  });

  it('cannot be forged: controls in it are shown as escapes', () => {
    const evil = 'a\nT fatal b\u001b[2J\u009b1A\u202ec';
    expect(logged((log) => log.warn({ evil }, evil)).split('\n')).toEqual([
      String.raw`T warn  a\u000aT fatal b\u001b[2J\u009b1A\u202ec evil="a\nT fatal b\u001b[2J\u009b1A\u202ec"`,
      '',
    ]);
    const err = Object.assign(new Error('x'), { stack: 'Error: \u001b[2J\n  at \u009b' });
    expect(logged((log) => log.error({ err }, 'oh'))).toBe(
      String.raw`T error oh` +
        '\n' +
        String.raw`    Error: \u001b[2J` +
        '\n' +
        String.raw`      at \u009b` +
        '\n',
    );
  });

  it('is coloured by its level, where colours are wanted', () => {
    const text = logged((log) => log.error({ n: 1 }, 'oh'), { colour: true });
    expect(text).toBe('\u001b[2mT\u001b[0m \u001b[31merror\u001b[0m oh \u001b[2mn=\u001b[0m1\n');
  });

  it('stays as it is when it is none', () => {
    expect(logText('no JSON\n', PLAIN)).toBe('no JSON\n');
  });
});

it.each([
  [true, {}, true],
  [false, {}, false],
  [undefined, {}, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
])('colours at a terminal (isTTY %s, %j): %s', (isTTY, env, expected) => {
  expect(mayColour(isTTY === undefined ? {} : { isTTY }, env)).toBe(expected);
});
