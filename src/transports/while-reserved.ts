/** What a program decides about a publish, whose memory is held meanwhile. */
import { publisherLeft } from '../core/intake.js';
import type { Reservation } from '../core/publish-memory.js';
import { knownError } from '../http/answer.js';

/**
 * Settles as `asked` does, and rejects when the reservation is released before that, because the
 * publisher has left: a program that never answers keeps nothing of the publish then. Nobody is
 * refused any more, but faults are still told to `report`.
 */
export async function whileReserved<Answer>(
  asked: Promise<Answer>,
  reservation: Reservation,
  report: (error: unknown) => void,
): Promise<Answer> {
  asked.catch((error: unknown) => {
    if (reservation.isReleased && knownError(error) !== error) report(error);
  });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      reservation.onRelease = () => reject(publisherLeft());
      asked.then(resolve, reject);
    });
  } finally {
    reservation.onRelease = undefined;
  }
}
