/** The estimate of memory is above what a run takes, and not far above. */
import { describe, expect, test } from 'vitest';
import { peakBytes } from '../../engine/index.ts';
import { adapt } from '../../s2t2/adapt.ts';
import { checkMemory, estimateBytes } from '../../s2t2/memory.ts';
import { defaults } from '../../s2t2/settings.ts';
import { temporaryDirectory } from '../models/temporary.ts';
import { tinyModel } from './fixture.ts';

describe('memory', () => {
  const directory = temporaryDirectory();
  test.each(['dykstra', 'dual'] as const)('%s: a run stays below its estimate, and above a fifth of it', async variant => {
    const source = await tinyModel();
    const settings = { ...defaults, variant, alpha: 1 / 317, vocabSize: 40, maxBytes: 60, batchTokens: 128, budget: { unit: 'tokens' as const, amount: 600 } };
    const domain = { train: ['MKVLAAGIVGLCAKVLAAGMKKLA', 'MKKLAAGIVKVLAAGMKVLAAGIV'], test: ['GIVGLCAMKVKVLAAGLCAMKKLA'] };
    peakBytes();
    await adapt({ source, domain, settings, methods: ['source', 's2t2'], out: `${directory}/${variant}`, log: () => {} });
    const peak = peakBytes();
    const estimate = estimateBytes(source.model.config, settings, 37, 317);
    expect(peak).toBeLessThan(estimate);
    expect(peak).toBeGreaterThan(estimate / 5);
  });

  test('a need above the limit is refused with figures', () => {
    expect(() => checkMemory(5 * 2 ** 30, 4 * 2 ** 30)).toThrow('needs about 5.0 GiB and the backend has 4.0 GiB; lower --batch-tokens');
    expect(() => checkMemory(5 * 2 ** 30, undefined)).not.toThrow();
  });
});
