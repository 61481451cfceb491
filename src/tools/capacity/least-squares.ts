/**
 * Fitting by least squares: a linear model of one variable with the error of what it predicts, and
 * a sum of effects none of which can be below 0.
 */

import { momentsOf, type Point } from '../../moments.js';

/** y = intercept + slope × x, and how well it fits. */
export interface LinearModel {
  readonly slope: number;
  readonly intercept: number;
  /** Share of the variance that the model explains, 0 to 1. */
  readonly rSquared: number;
  /** Standard error of the slope; 0 for two points, which always fit. */
  readonly slopeError: number;
  /** What {@link predictionError} needs besides. */
  readonly points: number;
  readonly meanX: number;
  readonly residualError: number;
}

/** Fits one. Throws a RangeError when the points have fewer than two different xs. */
export function fitLinear(points: readonly Point[]): LinearModel {
  const { meanX, meanY, xx, xy, yy } = momentsOf(points);
  const count = points.length;
  if (!(xx > 0))
    throw new RangeError(`a linear fit needs points at two different xs (got ${count} at one)`);
  const slope = xy / xx;
  const residual = Math.max(0, yy - slope * xy);
  const residualError = count > 2 ? Math.sqrt(residual / (count - 2)) : 0;
  return {
    slope,
    intercept: meanY - slope * meanX,
    rSquared: yy === 0 ? 1 : 1 - residual / yy,
    slopeError: residualError / Math.sqrt(xx),
    points: count,
    meanX,
    residualError,
  };
}

/** What the model gives at x. */
export function valueAt({ slope, intercept }: LinearModel, x: number): number {
  return intercept + slope * x;
}

/**
 * Standard error of a new value at x: the scatter of the points, and more the farther x is from
 * their middle.
 */
export function predictionError(
  { meanX, points, residualError, slopeError }: LinearModel,
  x: number,
): number {
  return Math.hypot(residualError * Math.sqrt(1 + 1 / points), slopeError * (x - meanX));
}

/** One observation: the size of each effect, the outcome, and the weight of the observation. */
export interface Observation {
  readonly effects: readonly number[];
  readonly outcome: number;
  readonly weight: number;
}

/**
 * The factors, none below 0, with which the effects add up to the outcomes, by least squares over
 * `weight × difference`. It solves for every subset of the effects and takes the best solution
 * without a negative factor. That is exact, and quick for up to eight effects.
 */
export function fitFactors(observations: readonly Observation[]): number[] {
  const effectCount = observations[0]?.effects.length ?? 0;
  let best: readonly number[] = Array.from({ length: effectCount }, () => 0);
  let bestError = squaredError(observations, best);
  for (let set = 1; set < 1 << effectCount; set++) {
    const chosen = Array.from({ length: effectCount }, (_, effect) => effect).filter(
      (effect) => ((set >> effect) & 1) === 1,
    );
    if (chosen.length > observations.length) continue;
    const solved = solve(observations, chosen);
    if (solved === undefined || solved.some((factor) => factor < 0)) continue;
    const factors = Array.from(
      { length: effectCount },
      (_, effect) => solved[chosen.indexOf(effect)] ?? 0,
    );
    const error = squaredError(observations, factors);
    if (error < bestError) {
      best = factors;
      bestError = error;
    }
  }
  return [...best];
}

/** What the effects add up to. */
export function sumOf(effects: readonly number[], factors: readonly number[]): number {
  return effects.reduce((sum, effect, index) => sum + effect * (factors[index] ?? 0), 0);
}

function squaredError(observations: readonly Observation[], factors: readonly number[]): number {
  return observations.reduce(
    (sum, { effects, outcome, weight }) =>
      sum + (weight * (sumOf(effects, factors) - outcome)) ** 2,
    0,
  );
}

/** A pivot below this share of its column's norm counts as 0: the effects cannot be separated. */
const PIVOT_SHARE_MIN = 1e-9;

/**
 * The factors of the chosen effects by least squares, negative ones included; undefined where the
 * observations cannot separate the effects. Modified Gram–Schmidt, which keeps the digits that
 * normal equations lose.
 */
function solve(
  observations: readonly Observation[],
  chosen: readonly number[],
): number[] | undefined {
  const columns = chosen.map((effect) =>
    observations.map(({ effects, weight }) => weight * effects[effect]!),
  );
  const rest = observations.map(({ outcome, weight }) => weight * outcome);
  const count = chosen.length;
  const upper: number[][] = columns.map(() => []);
  const projections: number[] = [];
  for (let column = 0; column < count; column++) {
    const direction = columns[column]!;
    const before = Math.sqrt(dot(direction, direction));
    for (let earlier = 0; earlier < column; earlier++) {
      const share = dot(columns[earlier]!, direction);
      upper[earlier]![column] = share;
      subtract(direction, columns[earlier]!, share);
    }
    const norm = Math.sqrt(dot(direction, direction));
    if (!(norm > PIVOT_SHARE_MIN * before)) return undefined;
    upper[column]![column] = norm;
    for (let row = 0; row < direction.length; row++) direction[row]! /= norm;
    const projection = dot(direction, rest);
    projections.push(projection);
    subtract(rest, direction, projection);
  }
  const factors: number[] = Array.from({ length: count }, () => 0);
  for (let row = count - 1; row >= 0; row--) {
    let value = projections[row]!;
    for (let column = row + 1; column < count; column++)
      value -= upper[row]![column]! * factors[column]!;
    factors[row] = value / upper[row]![row]!;
  }
  return factors;
}

function dot(one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, index) => sum + value * other[index]!, 0);
}

function subtract(target: number[], direction: readonly number[], share: number): void {
  for (let row = 0; row < target.length; row++) target[row]! -= share * direction[row]!;
}
