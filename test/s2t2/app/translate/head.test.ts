/** The head of `translate --data`: the one that a run of the same plan starts from. */
import { expect, test } from 'vitest';
import { loadModel, saveModel } from '../../../../models/node/checkpoint.ts';
import { translatedStart } from '../../../../s2t2/methods.ts';
import { defaults } from '../../../../s2t2/settings.ts';
import { toSequences } from '../../../../s2t2/app/prepare.ts';
import { refusal } from '../../../models/temporary.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import { headWithFrequencies } from '../../../../s2t2/app/translate/head.ts';
import { contents, examplePlan, llama, targetTokenizer, translations } from './example.ts';

const { paths, source } = translations();

test.each([false, true])(
  'with --data the head is that of a start that knows frequencies; spread: %s',
  async isSpread => {
    const model = await source(`frequencies-${isSpread}`, { ...llama, tied: true }, 'F32', 2);
    const out = `${model}-out`;
    const spread = isSpread ? { seed: 3, headScale: 0.25 } : undefined;
    const texts = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'GIVGLCA'];
    const head = await headWithFrequencies({ model, ...paths, spread }, texts);
    await translateCheckpoint({ model, ...paths, out, spread, head });
    const loaded = await loadModel(model);
    const settings = { ...defaults, alpha: 1, seed: spread?.seed ?? defaults.seed };
    const start = await translatedStart(
      {
        source: loaded,
        target: targetTokenizer,
        settings: { ...settings, spread: isSpread ? 'isotropic' : 'none' },
        train: { source: [], target: toSequences(texts, targetTokenizer, 64) },
      },
      examplePlan(),
    );
    const expected = start.finetuned ?? start.model;
    await saveModel(`${model}-in-memory`, { model: expected, tokenizer: targetTokenizer }, 'F32');
    const [written, wanted] = [await contents(out), await contents(`${model}-in-memory`)];
    expect(written).toEqual(wanted);
    const plain = await translatedStart(
      {
        source: loaded,
        target: targetTokenizer,
        settings: { ...settings, headBias: 'none', spread: 'none' },
        train: { source: [], target: [] },
      },
      examplePlan(),
    );
    expect(head).not.toEqual(plain.model.head.dataSync());
    expect(await refusal(translateCheckpoint({ model, ...paths, out, spread }))).toContain(
      'belongs to a translation of another',
    );
  },
);
