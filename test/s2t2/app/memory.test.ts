/** The estimate of memory is above what a run takes, and not far above. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { peakBytes } from '../../../engine/index.ts';
import { adapt } from '../../../s2t2/app/adapt.ts';
import { checkMemory, estimateBytes } from '../../../s2t2/app/memory.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { tinyModel } from '../fixture.ts';

describe('memory', () => {
  const directory = temporaryDirectory();
  test.each(['dykstra', 'dual'] as const)(
    '%s: a run stays below its estimate, and above a fifth of it',
    async variant => {
      const source = await tinyModel();
      const settings = {
        ...defaults,
        variant,
        alpha: 1 / 317,
        vocabSize: 40,
        maxBytes: 60,
        batchTokens: 128,
        budget: { unit: 'tokens' as const, amount: 600 },
      };
      const domain = {
        train: ['MKVLAAGIVGLCAKVLAAGMKKLA', 'MKKLAAGIVKVLAAGMKVLAAGIV'],
        test: ['GIVGLCAMKVKVLAAGLCAMKKLA'],
      };
      peakBytes();
      await adapt({
        source,
        domain,
        settings,
        methods: ['source', 's2t2'],
        out: `${directory}/${variant}`,
        log: () => {},
      });
      const peak = peakBytes();
      const estimate = estimateBytes(source.model.config, settings, 37, 317);
      expect(peak).toBeLessThan(estimate);
      expect(peak).toBeGreaterThan(estimate / 5);
    },
  );

  test('more of anything needs more, but tokens of a batch below the longest text', async () => {
    const { model } = await tinyModel();
    const sizes = fc.record({
      batchTokens: fc.integer({ min: 100, max: 3000 }),
      maxBytes: fc.integer({ min: 100, max: 3000 }),
      iterations: fc.integer({ min: 1, max: 9 }),
      layers: fc.integer({ min: 1, max: 5 }),
      u: fc.integer({ min: 10, max: 900 }),
      v: fc.integer({ min: 10, max: 900 }),
    });
    fc.assert(
      fc.property(
        sizes,
        fc.constantFrom('batchTokens', 'maxBytes', 'iterations', 'layers', 'u', 'v'),
        fc.integer({ min: 1, max: 50 }),
        (size, name, more) => {
          const estimate = ({ u, v, layers, ...settings }: typeof size) =>
            estimateBytes({ ...model.config, layers, vocabSize: v + 3 }, { ...defaults, alpha: 1, ...settings }, u, v);
          const [less, grown] = [estimate(size), estimate({ ...size, [name]: size[name] + more })];
          // The longer of these two is the batch.
          const other = name === 'batchTokens' ? size.maxBytes : name === 'maxBytes' ? size.batchTokens : 0;
          if (size[name] + more <= other) expect(grown).toBe(less);
          else if (name === 'u' || name === 'iterations')
            expect(grown).toBeGreaterThanOrEqual(less); // hidden where finetuning is the fuller moment, or v > u
          else expect(grown).toBeGreaterThan(less);
        },
      ),
    );
  });

  test('counts a source row at both ends, six times while finetuned, its logits four times a token', async () => {
    const {
      model: { config },
    } = await tinyModel();
    const settings = { ...defaults, alpha: 1, batchTokens: 700 };
    const estimate = (vocabSize: number) => estimateBytes({ ...config, vocabSize }, settings, 10, 10);
    for (const V of [5000, 9000]) expect(estimate(V + 1) - estimate(V)).toBe(4 * (7 * 2 * config.width + 4 * 700));
  });

  test('a need above the limit is refused with figures', () => {
    expect(() => checkMemory(5 * 2 ** 30, 4 * 2 ** 30)).toThrow(
      'needs about 5.0 GiB and the backend has 4.0 GiB; lower --batch-tokens',
    );
    expect(() => checkMemory(5 * 2 ** 30, undefined)).not.toThrow();
  });
});
