/** Files as an attacker or a broken disk leaves them: changes of valid bytes, and of valid JSON. */
import fc from 'fast-check';

/**
 * A file's bytes, changed: some overwritten, cut out, doubled or put in, the end cut off; sometimes nothing of them is
 * left.
 */
export function damagedBytes(original: Uint8Array): fc.Arbitrary<Buffer> {
  const place = fc.nat(original.length);
  const byte = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:0123456789-e \\\n\r>;')));
  const change = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('set' as const),
        at: place,
        bytes: fc.array(byte, { minLength: 1, maxLength: 3 }),
      }),
    },
    fc.record({
      kind: fc.constant('insert' as const),
      at: place,
      bytes: fc.array(byte, { minLength: 1, maxLength: 8 }),
    }),
    fc.record({ kind: fc.constantFrom('cut' as const, 'double' as const), at: place, length: fc.nat(40) }),
    fc.record({ kind: fc.constant('end' as const), at: place }),
  );
  const changed = fc.array(change, { minLength: 1, maxLength: 3 }).map(changes =>
    changes.reduce<Buffer>((bytes, c) => {
      const [head, tail] = [bytes.subarray(0, c.at), bytes.subarray(c.at)];
      switch (c.kind) {
        case 'set':
          return Buffer.concat([head, Buffer.from(c.bytes).subarray(0, tail.length), tail.subarray(c.bytes.length)]);
        case 'insert':
          return Buffer.concat([head, Buffer.from(c.bytes), tail]);
        case 'cut':
          return Buffer.concat([head, tail.subarray(c.length)]);
        case 'double':
          return Buffer.concat([head, tail.subarray(0, c.length), tail]);
        case 'end':
          return head;
      }
    }, Buffer.from(original)),
  );
  return fc.oneof(
    { weight: 9, arbitrary: changed },
    fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
  );
}

/** Values that code which trusts a file stumbles over. */
const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    1,
    0.5,
    2 ** 31,
    2 ** 53,
    1e300,
    -1e300,
    '',
    'x',
    '__proto__',
    'constructor',
    '\ud800',
    'a\nb',
    [],
    {},
    [[]],
    [{}],
    { length: 1e9 },
    { toString: 1, valueOf: 1 },
  ),
  fc.constant('x'.repeat(10_000)),
  fc.jsonValue({ maxDepth: 2 }),
);

/** A JSON value with one place in it (any field, item, or the whole) replaced, removed, or given a neighbour. */
export function damagedJson(original: unknown): fc.Arbitrary<unknown> {
  const paths: (string | number)[][] = [];
  const visit = (value: unknown, path: (string | number)[]) => {
    paths.push(path);
    if (typeof value !== 'object' || value === null) return;
    // Of many items alike the first three and the last stand for all.
    const keys = Object.keys(value);
    for (const key of keys.length > 24 ? [...keys.slice(0, 3), keys.at(-1)!] : keys)
      visit((value as Record<string, unknown>)[key], [...path, Array.isArray(value) ? Number(key) : key]);
  };
  visit(original, []);
  return fc
    .tuple(fc.constantFrom(...paths), fc.constantFrom('replace', 'replace', 'remove', 'add'), hostileValue)
    .map(([path, how, value]) => {
      const root = { root: structuredClone(original) };
      const whole = ['root', ...path];
      const parent = whole
        .slice(0, -1)
        .reduce<Record<string | number, unknown>>((at, key) => at[key] as Record<string | number, unknown>, root);
      const last = whole.at(-1)!;
      if (how === 'replace') parent[last] = value;
      else if (Array.isArray(parent))
        parent.splice(Number(last), how === 'remove' ? 1 : 0, ...(how === 'remove' ? [] : [value]));
      else if (how === 'remove') delete parent[last];
      else parent[`${last}2`] = value;
      return root.root;
    });
}
