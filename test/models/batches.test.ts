/** Laws of batching: nothing is lost, nothing is scored twice, budgets are met, and the seed decides the order. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { epoch, groupByLength, lengthsOf, makeBatch, planBatches, tokensIn, windows } from '../../models/batches.ts';
import { sumOver, type Sequence } from '../../models/sequences.ts';

const sequences: fc.Arbitrary<Sequence[]> = fc.array(
  fc
    .array(fc.integer({ min: 0, max: 99 }), { minLength: 2, maxLength: 20 })
    .map(ids => ({ ids: Int32Array.from(ids), bytes: 2 * ids.length })),
  { minLength: 1, maxLength: 25 },
);
const scored = (list: readonly Sequence[]) => sumOver(list, s => s.ids.length - 1);
/** The sequences of each group of a pass. */
const passOver = (list: readonly Sequence[], tokens: number, random: Random) =>
  epoch(lengthsOf(list), tokens, random).map(group => Array.from(group, i => list[i]));

describe('batches', () => {
  test('every token after the first is a target once, beside the token before it', () => {
    fc.assert(
      fc.property(sequences, list => {
        const {
          inputs,
          targets,
          shape: [B, T],
          tokens,
          bytes,
        } = makeBatch(list);
        expect([B, inputs.length, tokens]).toEqual([list.length, B * T, scored(list)]);
        expect(bytes).toBe(list.reduce((n, s) => n + s.bytes, 0));
        list.forEach((s, row) => {
          for (let t = 0; t < T; t++) {
            const at = row * T + t;
            expect(targets[at]).toBe(t + 1 < s.ids.length ? s.ids[t + 1] : -100);
            if (t + 1 < s.ids.length) expect(inputs[at]).toBe(s.ids[t]);
          }
        });
      }),
    );
  });

  test('a pass over the data has every sequence once, in groups that fit or hold one', () => {
    fc.assert(
      fc.property(sequences, fc.integer({ min: 1, max: 60 }), fc.nat(), (list, tokens, seed) => {
        for (const groups of [groupByLength(list, tokens), passOver(list, tokens, new Random(seed))]) {
          const all = groups.flat();
          expect(all.length).toBe(list.length);
          expect(new Set(all)).toEqual(new Set(list));
          for (const g of groups)
            expect(g.length === 1 || g.length * (Math.max(...g.map(s => s.ids.length)) - 1) <= tokens).toBe(true);
        }
      }),
    );
  });

  test('no sequences give no groups', () => {
    expect([groupByLength([], 5), passOver([], 5, new Random(0))]).toEqual([[], []]);
  });

  test('a pool holds about 16 batches: where they make whole sequences of one length, every batch is full', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 3 }),
        (rows, length, pools) => {
          const list = Array.from({ length: 16 * rows * pools }, () => ({
            ids: new Int32Array(length + 1),
            bytes: length,
          }));
          expect(new Set(passOver(list, rows * length, new Random(0)).map(group => group.length))).toEqual(
            new Set([rows]),
          );
        },
      ),
    );
  });

  test('the passes of a plan are those of its seed, numbered from 0', () => {
    fc.assert(
      fc.property(sequences, fc.nat(), (list, seed) => {
        const passes = [0, 1].flatMap(pass => passOver(list, 40, new Random(seed).split(`epoch ${pass}`)));
        const whole = passes.flat().reduce((n, s) => n + s.bytes, 0);
        expect([...planBatches(list, 40, { unit: 'bytes', amount: whole }, new Random(seed))]).toEqual(passes);
      }),
    );
  });

  test('a plan spends its budget, in tokens or bytes, and stops with the batch that does', () => {
    fc.assert(
      fc.property(
        sequences,
        fc.integer({ min: 1, max: 500 }),
        fc.constantFrom('tokens' as const, 'bytes' as const),
        (list, amount, unit) => {
          const plan = [...planBatches(list, 40, { unit, amount }, new Random(1))];
          const spent = (groups: readonly (readonly Sequence[])[]) =>
            unit === 'tokens' ? scored(groups.flat()) : groups.flat().reduce((n, s) => n + s.bytes, 0);
          expect(spent(plan)).toBeGreaterThanOrEqual(amount);
          expect(spent(plan.slice(0, -1))).toBeLessThan(amount);
          expect([...planBatches(list, 40, { unit, amount }, new Random(1))]).toEqual(plan);
        },
      ),
    );
    expect(() => planBatches([], 40, { unit: 'tokens', amount: 1 }, new Random(1))).toThrow('no sequences to train on');
  });

  test('a batch is a function of the step, and tokens are counted without making the batches', () => {
    fc.assert(
      fc.property(sequences, fc.integer({ min: 1, max: 900 }), fc.nat(), (list, amount, n) => {
        const plan = () => planBatches(list, 40, { unit: 'tokens', amount }, new Random(1));
        const all = [...plan()];
        expect([plan().length, plan().tokens, tokensIn(all)]).toEqual([all.length, scored(all.flat()), plan().tokens]);
        const step = n % all.length;
        expect(plan().at(step)).toEqual(all[step]);
        for (const none of [-1, all.length, 0.5 + all.length]) expect(plan().at(none)).toBeUndefined();
      }),
    );
  });

  test('the largest budget is planned at once; its orders come round again', () => {
    const list = Array.from({ length: 64 }, (_, i) => ({ ids: new Int32Array(3 + (i % 2)), bytes: 2 }));
    const plan = planBatches(list, 12, { unit: 'tokens', amount: Number.MAX_SAFE_INTEGER }, new Random(1), 2 * 64);
    const perPass = [0, 1].map(pass => passOver(list, 12, new Random(1).split(`epoch ${pass}`)));
    const passes = Math.ceil(Number.MAX_SAFE_INTEGER / scored(list));
    expect(plan.length).toBeGreaterThan((passes - 1) * perPass[0].length * 0.99);
    const [first, second] = perPass.map(groups => groups.length);
    expect(plan.at(3)).toEqual(perPass[0][3]);
    expect(plan.at(first + 5)).toEqual(perPass[1][5]);
    expect(plan.at(first + second + 7)).toEqual(perPass[0][7]);
    expect(plan.at(10 ** 6 * (first + second) + first)).toEqual(perPass[1][0]);
  });

  test('sequences that count for nothing cannot spend a budget', () => {
    const list = [{ ids: new Int32Array(4), bytes: 0 }];
    expect(() => planBatches(list, 40, { unit: 'bytes', amount: 1 }, new Random(1))).toThrow(
      'planBatches: the sequences have no bytes to spend the budget on',
    );
  });

  test('windows share one token or more as context; each token is scored once, except a remainder', () => {
    const cuts = fc.integer({ min: 1, max: 9 }).chain(length => fc.tuple(fc.constant(length), fc.nat(length - 1)));
    fc.assert(
      fc.property(fc.array(fc.nat(99), { maxLength: 60 }), cuts, (stream, [length, overlap]) => {
        const cut = windows(Int32Array.from(stream), length, id => id, overlap);
        const scoredOf = (s: Sequence) => Array.from(s.ids.slice(1 + s.context!));
        const targets = cut.flatMap(scoredOf);
        expect(targets).toEqual(stream.slice(1, 1 + targets.length));
        expect(stream.length - 1 - targets.length).toBeLessThan(cut.length > 0 ? length - overlap : length + 1);
        cut.forEach((s, i) => {
          expect([s.ids.length, s.context]).toEqual([length + 1, i > 0 ? overlap : 0]);
          expect(s.bytes).toBe(scoredOf(s).reduce((a, b) => a + b, 0));
        });
      }),
    );
    for (const overlap of [-1, 4, Number.NaN])
      expect(() => windows(new Int32Array(9), 4, () => 1, overlap)).toThrow(
        `an overlap of ${overlap} does not fit into windows of 4`,
      );
  });

  test('what is context only is read and no target, and counts for no budget', () => {
    fc.assert(
      fc.property(sequences, fc.nat(), (list, n) => {
        const withContext = list.map((s, i) => ({ ...s, context: (n + i) % s.ids.length }));
        const [whole, part] = [makeBatch(list), makeBatch(withContext)];
        const T = whole.shape[1];
        expect(part.inputs).toEqual(whole.inputs);
        expect(part.targets).toEqual(
          whole.targets.map((id, at) => (at % T < withContext[Math.floor(at / T)].context ? -100 : id)),
        );
        expect(part.tokens).toBe(part.targets.filter(id => id >= 0).length);
        if (part.tokens === 0) return;
        const plan = [...planBatches(withContext, 40, { unit: 'tokens', amount: 1 }, new Random(1))];
        expect(plan.slice(0, -1).reduce((sum, group) => sum + makeBatch(group).tokens, 0)).toBe(0);
        expect(makeBatch(plan.at(-1)!).tokens).toBeGreaterThan(0);
      }),
    );
  });
});
