/**
 * The byte ring against a naive array of frames: what it holds, finds and hands out as one slice.
 */
import assert from 'node:assert/strict';
import { fc } from './support/properties.js';
import { describe, expect, test } from 'vitest';
import { Ring } from '../src/core/ring.js';

interface Frame {
  readonly id: number;
  readonly bytes: Buffer;
}

type Step =
  | { readonly append: number; readonly idStep: number }
  | { readonly evict: number }
  | { readonly keep: number };

/** Most frames are small; some are larger than the slab is by then (2,048 bytes at first). */
const sizes = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 300, max: 3000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3000, max: 40_000 }) },
);

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ append: sizes, idStep: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 3, arbitrary: fc.record({ evict: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ keep: fc.integer({ min: 0, max: 6 }) }) },
  ),
  { maxLength: 120, size: 'max' },
);

/**
 * A ring whose first frame gets this seq. Slots are found by 32-bit masks, so the interesting ones
 * are around 2^31 and 2^32.
 */
function ringFrom(seq: number): Ring {
  const ring = new Ring();
  ring.headSeq = seq;
  ring.tailSeq = seq;
  return ring;
}

const firstSeqs = fc.constantFrom(0, 2 ** 31 - 20, 2 ** 31, 2 ** 32 - 20, 2 ** 32, 2 ** 45 + 7);

let fill = 0;

function frameOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  // Neighbours differ in every byte, so that a slice that is one byte off is seen.
  for (let i = 0; i < size; i++) bytes[i] = (i * 7 + fill * 31) & 0xff;
  fill++;
  return bytes;
}

function concatenated(frames: readonly Frame[]): Buffer {
  return Buffer.concat(frames.map((frame) => frame.bytes));
}

function expectEqual(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) !== 0)
    throw new Error(`${what}: ${actual.length} bytes are not the ${expected.length} that went in`);
}

/** Everything that a reader may ask, against the naive frames. */
function check(ring: Ring, model: readonly Frame[], probe: number): void {
  const { tailSeq, headSeq } = ring;
  assert.equal(headSeq - tailSeq, model.length);
  assert.equal(ring.length, model.length);
  assert.equal(ring.heldBytes, concatenated(model).length);
  assert.equal(ring.newestId, model.at(-1)?.id ?? 0);
  assert.equal(ring.bytesFrom(headSeq), 0);
  for (const [i, frame] of model.entries()) {
    assert.equal(ring.idAt(tailSeq + i), frame.id);
    assert.equal(ring.sizeAt(tailSeq + i), frame.bytes.length);
    expectEqual(
      ring.view(tailSeq + i, tailSeq + i + 1),
      frame.bytes,
      `the frame at seq ${tailSeq + i}`,
    );
    const after = concatenated(model.slice(i)).length;
    assert.ok(ring.bytesFrom(tailSeq + i) >= after);
    assert.ok(ring.bytesFrom(tailSeq + i) <= ring.memoryBytes);
  }
  const oldest = model[0]?.id ?? 0;
  const newest = model.at(-1)?.id ?? 0;
  for (const id of [
    0,
    oldest - 1,
    oldest,
    oldest + (probe % Math.max(1, newest - oldest)),
    newest - 1,
    newest,
    newest + 1,
  ]) {
    const index = model.findIndex((frame) => frame.id > id);
    assert.equal(ring.seqAfter(id), index < 0 ? headSeq : tailSeq + index);
  }
  checkRuns(ring, model, [0, 1 + (probe % 500), 1 + (probe % 20_000), 16_376]);
}

/** A cut has whatever fits, also what goes on at the slab's beginning. */
function checkCut(ring: Ring, model: readonly Frame[], seq: number, limit: number): void {
  const endSeq = seq + Math.ceil((ring.headSeq - seq) / 2) + (limit % 2);
  const end = Math.min(endSeq, ring.headSeq);
  const { bytes, toSeq } = ring.cut(seq, end, limit);
  const from = seq - ring.tailSeq;
  expectEqual(bytes, concatenated(model.slice(from, toSeq - ring.tailSeq)), `the cut at ${seq}`);
  assert.ok(toSeq > seq && toSeq <= end);
  assert.ok(bytes.length <= limit || toSeq === seq + 1);
  if (toSeq < end) assert.ok(bytes.length + model[toSeq - ring.tailSeq]!.bytes.length > limit);
}

/**
 * What is held spans at most two laps of the slab, so it is at most two runs; and a run with a
 * limit is the longest part of the run without one that fits, or one frame.
 */
function checkRuns(ring: Ring, model: readonly Frame[], limits: readonly number[]): void {
  let runs = 0;
  for (let seq = ring.tailSeq; seq < ring.headSeq; runs++) {
    const end = ring.runEnd(seq, Number.MAX_SAFE_INTEGER);
    const index = seq - ring.tailSeq;
    expectEqual(
      ring.view(seq, end),
      concatenated(model.slice(index, end - ring.tailSeq)),
      `the run ${seq}–${end}`,
    );
    for (const limit of limits) {
      let expected = seq + 1;
      let bytes = model[index]!.bytes.length;
      while (expected < end && bytes + model[expected - ring.tailSeq]!.bytes.length <= limit) {
        bytes += model[expected - ring.tailSeq]!.bytes.length;
        expected++;
      }
      assert.equal(ring.runEnd(seq, limit), expected);
      checkCut(ring, model, seq, limit);
    }
    seq = end;
  }
  assert.ok(runs <= 2);
}

test('whatever is appended and evicted, in whatever sizes, is held, found by id, and sliced as it went in, at any seq', () => {
  fc.assert(
    fc.property(firstSeqs, steps, (firstSeq, given) => {
      const ring = ringFrom(firstSeq);
      const model: Frame[] = [];
      let id = 1_790_000_000_000_000;
      for (const [i, step] of given.entries()) {
        if ('append' in step) {
          id += step.idStep;
          const bytes = frameOf(step.append);
          // A frame may be a view of a longer buffer.
          const longer = Buffer.concat([bytes, Buffer.from('not mine')]);
          ring.append(id, i % 2 === 0 ? bytes : longer.subarray(0, bytes.length));
          model.push({ id, bytes });
        } else {
          const left =
            'evict' in step
              ? Math.max(0, model.length - step.evict)
              : Math.min(model.length, step.keep);
          while (model.length > left) {
            ring.evict();
            model.shift();
          }
        }
        check(ring, model, i * 7919);
      }
    }),
    { numRuns: 150 },
  );
});

test('a ring that is kept at a few frames stays in the slab it has while thousands go through', () => {
  fc.assert(
    fc.property(
      firstSeqs,
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.integer({ min: 0, max: 160 }), { minLength: 1, maxLength: 40 }),
      (firstSeq, kept, cycle) => {
        const ring = ringFrom(firstSeq);
        const model: Frame[] = [];
        for (let id = 1; id <= 2000; id++) {
          const bytes = frameOf(cycle[id % cycle.length]!);
          ring.append(id, bytes);
          model.push({ id, bytes });
          if (model.length > kept) {
            ring.evict();
            model.shift();
          }
          checkRuns(ring, model, [400]);
        }
        expect(ring.memoryBytes, 'at most 13 × 160 bytes are held at a time').toBeLessThanOrEqual(
          2 * 4096 + 16 * 20,
        );
      },
    ),
    { numRuns: 20 },
  );
});

describe('edges', () => {
  test('a frame as large as the slab, then frames around it', () => {
    const ring = new Ring();
    const model: Frame[] = [];
    for (const [i, size] of [2048, 1, 4096, 0, 8192, 3, 100_000, 5].entries()) {
      const bytes = frameOf(size);
      ring.append(i + 1, bytes);
      model.push({ id: i + 1, bytes });
      check(ring, model, i);
    }
  });

  test('a ring that was emptied takes frames again, and finds none in between', () => {
    const ring = ringFrom(2 ** 32 - 1);
    const frame = frameOf(1500);
    for (let id = 1; id <= 50; id++) {
      expect(ring.seqAfter(0)).toBe(ring.headSeq);
      ring.append(id, frame);
      expectEqual(ring.view(ring.tailSeq, ring.headSeq), frame, `the only frame, id ${id}`);
      ring.evict();
      expect(ring.length).toBe(0);
      expect(ring.newestId).toBe(0);
    }
    expect(ring.memoryBytes, 'it never held more than one').toBeLessThan(4096);
  });

  test('a frame that does not fit the rest of a lap stands at the start of the next, whole', () => {
    const ring = new Ring();
    const frame = frameOf(700);
    // 2 fit a lap of 2,048 bytes; the third starts the next lap and 648 bytes stay unused.
    for (let id = 1; id <= 100; id++) {
      ring.append(id, frame);
      if (ring.length > 2) ring.evict();
      for (let seq = ring.tailSeq; seq < ring.headSeq; seq++)
        expectEqual(ring.view(seq, seq + 1), frame, `seq ${seq}`);
    }
  });

  test('byte positions past 2^32 are as good as any', () => {
    const ring = new Ring();
    const lap = 64 * 1024 * 1024;
    ring.append(1, Buffer.alloc(lap));
    ring.evict();
    // Half a slab and a byte: one frame a lap, so 64 of them pass 2^32 while they copy only half of
    // that.
    const frame = Buffer.alloc(lap / 2 + 1);
    for (let id = 2; id <= 68; id++) {
      frame[0] = id;
      frame[frame.length - 1] = id + 1;
      ring.append(id, frame);
      const view = ring.view(ring.tailSeq, ring.headSeq);
      expect([view.length, view[0], view.at(-1)]).toEqual([frame.length, id, id + 1]);
      ring.evict();
    }
    const small = frameOf(900);
    ring.append(100, small);
    ring.append(101, small);
    expect(ring.bytesFrom(ring.tailSeq)).toBe(1800);
    expectEqual(
      ring.view(ring.tailSeq, ring.runEnd(ring.tailSeq, 1800)),
      Buffer.concat([small, small]),
      'two small frames',
    );
    expect(ring.memoryBytes).toBeLessThan(lap + 4096);
  });
});
