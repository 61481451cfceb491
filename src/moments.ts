/** Means of points and the sums of squares around them, from which a linear fit follows. */

/** A point to fit through. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Moments {
  readonly meanX: number;
  readonly meanY: number;
  /** Sums of (x − meanX)², (x − meanX)(y − meanY) and (y − meanY)²; the slope is xy ÷ xx. */
  readonly xx: number;
  readonly xy: number;
  readonly yy: number;
}

/** The moments of at least one point. */
export function momentsOf(points: readonly Point[]): Moments {
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / points.length;
  let xx = 0;
  let xy = 0;
  let yy = 0;
  for (const { x, y } of points) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
    yy += (y - meanY) ** 2;
  }
  return { meanX, meanY, xx, xy, yy };
}
