/** Model configurations: every family, any number of heads that fits, and ids for them. */
import fc from 'fast-check';
import { families, type TransformerConfig } from '../../models/transformer.ts';

/** Small ones. Grouped key/value heads and heads of a width of their own where the family has them. */
export const configs: fc.Arbitrary<TransformerConfig> = fc
  .record({
    family: fc.constantFrom(...families),
    vocabSize: fc.integer({ min: 1, max: 12 }),
    groups: fc.integer({ min: 1, max: 3 }),
    headsInGroup: fc.integer({ min: 1, max: 3 }),
    halfHead: fc.integer({ min: 1, max: 3 }),
    ownWidth: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
    layers: fc.integer({ min: 1, max: 3 }),
    feedForward: fc.integer({ min: 1, max: 9 }),
    context: fc.integer({ min: 2, max: 9 }),
    rotaryBase: fc.constantFrom(2, 10_000, 500_000),
    normEps: fc.constantFrom(1e-6, 1e-5, 1e-2),
    tied: fc.boolean(),
  })
  .map(({ family, groups, headsInGroup, halfHead, ownWidth, ...rest }) => {
    const heads = groups * headsInGroup;
    const own = family !== 'gpt2' && ownWidth !== undefined;
    return {
      ...rest,
      family,
      heads,
      keyValueHeads: family === 'gpt2' ? heads : groups,
      width: own ? ownWidth : heads * 2 * halfHead,
      ...(own && { headWidth: 2 * halfHead }),
    };
  });

/** Ids of a vocabulary, as many as a context takes. */
export const idsFor = ({ vocabSize, context }: TransformerConfig): fc.Arbitrary<Int32Array<ArrayBuffer>> =>
  fc.array(fc.nat(vocabSize - 1), { minLength: 2, maxLength: context }).map(ids => Int32Array.from(ids));
