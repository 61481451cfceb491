/** What the publisher of a batch is told when NATS takes a part of it, or none. */
import { expect, test } from 'vitest';
import type { HoldlineError } from '../src/errors.js';
import { Batch } from '../src/log/nats/batch.js';

const LARGE = 'NATS takes at most 4096 bytes';

/** A batch of two, of which the second is too large; the first is on its way. */
function halfSent(): { readonly batch: Batch; readonly outcome: Promise<HoldlineError> } {
  let batch!: Batch;
  const outcome = new Promise<HoldlineError>((resolve) => {
    batch = new Batch(2, 0, () => {}, resolve);
  });
  batch.inFlight++;
  batch.failed(LARGE, 'HOLDLINE_TOO_LARGE');
  batch.inFlight--;
  return { batch, outcome };
}

test('an event that is too large is not to be sent again, whatever was published before it', async () => {
  const { batch, outcome } = halfSent();
  batch.acked(0, { id: 1, isRepeat: false, isResent: false });
  expect(await outcome).toMatchObject({
    code: 'HOLDLINE_TOO_LARGE',
    message: `${LARGE}; 1 of 2 events were published; publish less at once, or raise it`,
  });
});

test('the code is that of the problem which is told', async () => {
  const { batch, outcome } = halfSent();
  batch.failed('NATS refuses it', 'HOLDLINE_LOG_UNAVAILABLE');
  expect(await outcome).toMatchObject({
    code: 'HOLDLINE_TOO_LARGE',
    message: `${LARGE}; nothing was published; publish less at once, or raise it`,
  });
});

test('what nobody knows of one message is not known of the batch', async () => {
  const { batch, outcome } = halfSent();
  batch.failed('NATS did not answer', 'HOLDLINE_OUTCOME_UNKNOWN');
  expect((await outcome).code).toBe('HOLDLINE_OUTCOME_UNKNOWN');
});
