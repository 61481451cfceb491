/** The reader of polls against answers that are whole, cut, empty, and wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DATA_BYTES, ndjsonEvent, writeEventData, writeEventStamp } from './event.js';
import { makePollAnswer, readPollAnswer } from './poll-answer.js';

const DUE_US = 1_000_000_000;
const ID = 1_767_225_600_000_000;

function event(id: number): Buffer {
  const data = Buffer.alloc(DATA_BYTES);
  writeEventData(data, 0);
  writeEventStamp(data, 0, DUE_US, 7);
  return ndjsonEvent(id, data);
}

function answer(
  status: string,
  position: number | undefined,
  body: Buffer,
  length: number | undefined = body.length,
): Buffer {
  const headers = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    ...(position === undefined ? [] : [`Holdline-Position: ${position}`]),
    'Date: Sun, 22 Nov 2026 12:00:00 GMT',
    ...(length === undefined ? [] : [`Content-Length: ${length}`]),
  ];
  return Buffer.concat([Buffer.from(`${headers.join('\r\n')}\r\n\r\n`), body]);
}

/** Reads the first `end` bytes from a buffer that holds an older, longer answer behind them. */
function read(
  bytes: Buffer,
  end = bytes.length,
  isChecked = true,
): ReturnType<typeof makePollAnswer> | undefined {
  const shared = Buffer.alloc(4096);
  for (let at = 0; at < 4096 - bytes.length; at += bytes.length) bytes.copy(shared, at);
  bytes.copy(shared, 0, 0, end);
  shared.fill(Buffer.from('"}'), end);
  const into = makePollAnswer();
  return readPollAnswer(shared, end, isChecked, into) ? into : undefined;
}

const NOTHING = Buffer.alloc(0);

describe('the answer to a poll', () => {
  test('with an event', () => {
    const wanted = {
      status: 200,
      position: ID,
      id: ID,
      dueUs: DUE_US,
      sequence: 7,
      hasGap: false,
      damaged: false,
    };
    for (const isChecked of [true, false]) {
      expect(read(answer('200 OK', ID, event(ID)), undefined, isChecked)).toEqual(wanted);
    }
  });

  test.each([
    ['without a length', undefined],
    ['with a length of 0', 0],
  ])('204 %s', (_how, length) => {
    const bytes = answer('204 No Content', 12, NOTHING, length);
    expect(read(bytes)).toMatchObject({ status: 204, position: 12, id: -1, damaged: false });
  });

  test('with a gap', () => {
    const gap = Buffer.concat([
      Buffer.from('{"gap":{"after":4,"before":9},'),
      event(9).subarray(1),
    ]);
    expect(read(answer('200 OK', 9, gap))).toMatchObject({
      status: 200,
      position: 9,
      hasGap: true,
      damaged: false,
    });
  });

  test('is not read before all of it has come', () => {
    const bytes = answer('200 OK', ID, event(ID));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length - 1 }), (end) => {
        expect(read(bytes, end)).toBeUndefined();
      }),
    );
  });

  test.each([
    ['another position in the head', answer('200 OK', ID - 1, event(ID))],
    ['a wrong length', answer('200 OK', ID, event(ID), 12)],
    ['no position', answer('204 No Content', undefined, NOTHING)],
    ['a body that is no event', answer('200 OK', 5, Buffer.from('{"id":5}'))],
    ['a refusal', answer('503 Service Unavailable', undefined, Buffer.from('{"error":{}}'))],
    [
      'bytes behind the answer',
      Buffer.concat([answer('200 OK', ID, event(ID)), Buffer.from('HTTP/1.1 ')]),
    ],
  ])('finds %s', (_what, bytes) => {
    expect(read(bytes)?.damaged).toBe(true);
  });
});
