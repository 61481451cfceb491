/**
 * The contents of a heap snapshot of V8, summed by kind; the difference of two is what the lines
 * between them take.
 */

/**
 * The part of the format that is read here:
 * https://github.com/v8/v8/blob/main/src/profiler/heap-snapshot-generator.cc
 */
export interface HeapSnapshot {
  snapshot: { meta: { node_fields: string[]; node_types: [string[], ...unknown[]] } };
  nodes: number[];
  strings: string[];
}

export interface HeapShare {
  /** A constructor or a function, or the kind of an object without either. */
  name: string;
  count: number;
  bytes: number;
}

/** Kinds whose objects are known by name; others (arrays, numbers, code, shapes) by their kind. */
const NAMED_KINDS: ReadonlySet<string> = new Set(['object', 'closure', 'native']);

export function sharesOf({ snapshot, nodes, strings }: HeapSnapshot): Map<string, HeapShare> {
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [typeAt, nameAt, sizeAt] = ['type', 'name', 'self_size'].map((field) => {
    const at = fields.indexOf(field);
    if (at === -1)
      throw new Error(`a node of this snapshot has no ${field}, but ${fields.join(', ')}`);
    return at;
  }) as [number, number, number];
  const shares = new Map<string, HeapShare>();
  for (let node = 0; node < nodes.length; node += fields.length) {
    const kind = types[0][nodes[node + typeAt]!]!;
    const name = NAMED_KINDS.has(kind) ? `${kind} ${strings[nodes[node + nameAt]!]!}`.trim() : kind;
    let share = shares.get(name);
    if (share === undefined) shares.set(name, (share = { name, count: 0, bytes: 0 }));
    share.count++;
    share.bytes += nodes[node + sizeAt]!;
  }
  return shares;
}

/**
 * What has grown from one to the other by at least that many bytes for each of `lines`, largest
 * first; counts and bytes for each line.
 */
export function growthOf(
  before: ReadonlyMap<string, HeapShare>,
  after: ReadonlyMap<string, HeapShare>,
  lines: number,
  leastBytesPerLine: number,
): HeapShare[] {
  return [...after.values()]
    .map(({ name, count, bytes }) => {
      const from = before.get(name) ?? { count: 0, bytes: 0 };
      return { name, count: (count - from.count) / lines, bytes: (bytes - from.bytes) / lines };
    })
    .filter(({ bytes }) => bytes >= leastBytesPerLine)
    .toSorted((a, b) => b.bytes - a.bytes);
}
