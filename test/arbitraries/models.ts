/** Model configurations: every family, any number of heads that fits, what varies within a family; and ids for them. */
import fc from 'fast-check';
import { families, familyNames, type FamilyName } from '../../models/families.ts';
import type { RotaryScaling, TransformerConfig } from '../../models/transformer-config.ts';

const scalings: fc.Arbitrary<RotaryScaling | undefined> = fc.constantFrom(
  undefined,
  { kind: 'linear', factor: 4 },
  { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, originalContext: 16 },
);

/** Small ones. Grouped key/value heads and heads of a width of their own where the family has them. */
export const configsOf = (names: readonly FamilyName[]): fc.Arbitrary<TransformerConfig> =>
  fc
    .record({
      family: fc.constantFrom(...names),
      vocabSize: fc.integer({ min: 1, max: 12 }),
      groups: fc.integer({ min: 1, max: 3 }),
      headsInGroup: fc.integer({ min: 1, max: 3 }),
      halfHead: fc.integer({ min: 1, max: 3 }),
      ownWidth: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
      layers: fc.integer({ min: 1, max: 3 }),
      feedForward: fc.integer({ min: 1, max: 9 }),
      context: fc.integer({ min: 2, max: 9 }),
      rotaryBase: fc.constantFrom(2, 10_000, 500_000),
      rotaryScaling: scalings,
      normEps: fc.constantFrom(1e-6, 1e-5, 1e-2),
      tied: fc.boolean(),
      varied: fc.boolean(),
    })
    .map(({ family, groups, headsInGroup, halfHead, ownWidth, rotaryScaling, varied, ...rest }) => {
      const { positions, names: stored, activation } = families[family];
      const fused = stored['attention.q'] === stored['attention.k'];
      const heads = groups * headsInGroup;
      const own = !fused && ownWidth !== undefined;
      return {
        ...rest,
        family,
        heads,
        keyValueHeads: fused ? heads : groups,
        width: own ? ownWidth : heads * 2 * halfHead,
        ...(own && { headWidth: 2 * halfHead }),
        ...(positions === 'rotary' && rotaryScaling && { rotaryScaling }),
        ...(varied && variant[family]),
        ...(varied && activation !== 'swiglu' && { activation: activation === 'gelu' ? 'geluTanh' : 'gelu' }),
        ...(family === 'gpt_neox' && halfHead === 3 && { rotaryShare: 0.4 }),
      } as TransformerConfig;
    });

/** What some models of a family have, and others have not. */
const variant: Readonly<Partial<Record<FamilyName, Partial<TransformerConfig>>>> = {
  olmo: { clip: 0.05 },
  gpt_neox: { parallel: true },
  mistral: { window: 9 },
  qwen2: { window: 9, windowFrom: 0 },
};

/** Of all families. */
export const configs: fc.Arbitrary<TransformerConfig> = configsOf(familyNames);

/** Ids of a vocabulary, as many as a context takes. */
export const idsFor = ({ vocabSize, context }: TransformerConfig): fc.Arbitrary<Int32Array<ArrayBuffer>> =>
  fc.array(fc.nat(vocabSize - 1), { minLength: 2, maxLength: context }).map(ids => Int32Array.from(ids));
