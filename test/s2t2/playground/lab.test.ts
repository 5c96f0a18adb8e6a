/** The lab without a page: a run that is stopped frees all that it made. */
import { beforeAll, expect, test, vi } from 'vitest';
import { memory } from '../../../engine/index.ts';
import { modelTensors, modelTexts } from '../../../models/checkpoint.ts';
import { safetensorsBytes } from '../../../models/safetensors/write.ts';
import { createLab } from '../../../s2t2/playground/lab/lab.ts';
import type { RunEvent } from '../../../s2t2/playground/protocol.ts';
import { defaultAlpha, defaults } from '../../../s2t2/settings.ts';
import { tinyModel } from '../fixture.ts';
import { proteins } from './browser.ts';

vi.hoisted(() => {
  vi.stubGlobal('location', { href: 'http://localhost/' });
  vi.stubGlobal('VERSION', '0');
});

let hear: (event: RunEvent) => void = () => {};
const lab = createLab(event => hear(event));
const methods = ['fvt', 's2t2'];
const budget = { unit: 'tokens' as const, amount: 500 };
const settings = { ...defaults, vocabSize: 40, budget, planShare: 0.5, alpha: defaultAlpha(2048) };

beforeAll(async () => {
  await lab.useBackend({ name: 'wasm', plain: true, threads: 1 });
  const tiny = await tinyModel();
  const files = {
    ...modelTexts(tiny, 'F32'),
    'model.safetensors': await safetensorsBytes(await modelTensors(tiny.model, 'F32')),
  };
  const dropped = Object.entries(files).map(([name, part]) => ({ name: `/tiny/${name}`, file: new Blob([part]) }));
  await lab.loadModel(dropped, settings, methods);
  await lab.loadDomain({ kind: 'file', file: { name: 'mine.fasta', file: new Blob([await proteins()]) } }, 20_000);
});

test('stopped in its second row, between plan and finetuning, a run leaves no tensor', async () => {
  const before = memory().tensors;
  const ended = new Promise<RunEvent>(resolve => {
    hear = event => {
      if (event.type === 'evaluating' && event.method === 's2t2') void lab.stop();
      if (event.type === 'stopped' || event.type === 'done' || event.type === 'failed') resolve(event);
    };
  });
  await lab.run({ settings, methods, validations: 0, resume: false });
  expect((await ended).type).toBe('stopped');
  expect(memory().tensors).toBe(before);
});
