/** Figures in JSON of several workers as one. */

/** How values at a path become one, where it is not their sum. */
export type Rule = 'max' | 'first';
/** By path, with dots; a rule also holds for everything below. */
export type Rules = Readonly<Record<string, Rule>>;

/**
 * To the nearest millionth: seconds of a counter are no integers, and sums of such numbers depend
 * on the order in which they are added. A counter that falls by the last bit is taken for a start
 * from 0.
 */
export function inMillionths(value: number): number {
  return Number.isInteger(value) ? value : Math.round(value * 1e6) / 1e6;
}

/** The sum of two numbers in millionths, in millionths: the same in whichever order. */
export function plus(one: number, other: number): number {
  return inMillionths(one + other);
}

/**
 * Numbers add up, of two booleans one true is enough, and of anything else the first counts. Null
 * is nothing.
 */
export function sumOf(values: readonly unknown[], rules: Rules = {}, path = ''): unknown {
  const given = values.filter((value) => value !== null && value !== undefined);
  const [first] = given;
  if (first === undefined) return values.length === 0 ? undefined : (values[0] ?? null);
  const rule = rules[path];
  if (rule === 'first') return first;
  if (typeof first === 'number') {
    const numbers = given as number[];
    return rule === 'max' ? Math.max(...numbers) : numbers.map(inMillionths).reduce(plus, 0);
  }
  if (typeof first === 'boolean') return given.includes(true);
  if (typeof first !== 'object' || Array.isArray(first)) return first;
  const objects = given as Readonly<Record<string, unknown>>[];
  const names = new Set(objects.flatMap((one) => Object.keys(one)));
  const below = rule === undefined ? rules : belowOf(rules, path, names, rule);
  return Object.fromEntries(
    [...names].map((name) => [
      name,
      sumOf(
        objects.filter((one) => Object.hasOwn(one, name)).map((one) => one[name]),
        below,
        path === '' ? name : `${path}.${name}`,
      ),
    ]),
  );
}

function belowOf(rules: Rules, path: string, names: Iterable<string>, rule: Rule): Rules {
  const own = [...names].map((name) => [`${path}.${name}`, rule] as const);
  return { ...Object.fromEntries(own), ...rules };
}
