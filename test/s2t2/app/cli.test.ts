/**
 * The command line as its users meet it: the whole job on a tiny model, a kill in the middle, Ctrl-C, and the most
 * likely mistakes. It runs the built `dist/`, which `npm test` makes first.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { copyFile, cp, mkdir, readdir, readFile, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { tensor } from '../../../engine/index.ts';
import { loadModel, saveModel } from '../../../models/node/checkpoint.ts';
import { readSafetensors, writeSafetensors } from '../../../models/node/safetensors.ts';
import type { TensorData } from '../../../models/safetensors/write.ts';
import { sha256 } from '../../../models/sha256.ts';
import { sha256File } from '../../../models/node/files.ts';
import { parseTokenizerJson } from '../../../models/tokenizer/index.ts';
import type { Results } from '../../../s2t2/cell.ts';
import { defaultRows } from '../../../s2t2/app/adapt.ts';
import type { Paper } from '../../../s2t2/app/paper/paper.ts';
import { readCorpus } from '../../../s2t2/app/corpus.ts';
import { dataFolder } from '../../../s2t2/app/data/tools.ts';
import { explainPlan } from '../../../s2t2/explain.ts';
import { domainsMarkdown } from '../../../s2t2/app/paper/markdown.ts';
import { loadPlan } from '../../../s2t2/app/plan-file.ts';
import { gridText } from '../../../s2t2/app/rates.ts';
import { explanationTable, resultsTable } from '../../../s2t2/app/tables.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { signalAt } from '../../signals.ts';
import { writeFixture } from '../fixture.ts';
import { cli, command as s2t2, spawned, type Ended } from './command.ts';

const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);
let fixture: Awaited<ReturnType<typeof writeFixture>>;
beforeAll(async () => {
  fixture = await writeFixture(directory);
});

const job = (out: string, ...more: string[]) => [
  'adapt',
  '--model',
  fixture.model,
  '--data',
  fixture.train,
  '--test',
  fixture.test,
  '--out',
  out,
  '--vocab-size',
  '64',
  '--max-bytes',
  '100',
  '--tokens',
  '1500',
  '--batch-tokens',
  '128',
  '--methods',
  'source,truncated,fvt,s2t2,scratch',
  '--plain-simd', // as in this process, where others run after it
  ...more,
];

/** The whole job, done once for all tests that look at what it wrote. */
let done: Promise<Ended> | undefined;
const whole = (): Promise<Ended> => (done ??= s2t2(job(at('whole'))));

/** What must not depend on whether a run was interrupted: model, plan, and the results without their timings. */
async function fingerprint(out: string) {
  const results = JSON.parse(await readFile(join(out, 'results.json'), 'utf8')) as Results;
  const untimed = {
    ...results,
    provenance: undefined, // the command names the directory
    methods: results.methods.map(m => ({
      ...m,
      seconds: 0,
      spentBefore: { ...m.spentBefore, seconds: 0 },
      curve: m.curve.map(point => ({ ...point, seconds: 0 })),
    })),
  };
  return [
    await sha256File(join(out, 'model', 'model.safetensors')),
    await sha256File(join(out, 'model', 'tokenizer.json')),
    await sha256File(join(out, 'plan.safetensors')),
    sha256(JSON.stringify(untimed)),
  ];
}

describe('the whole job', () => {
  test('adapts, prints the table and writes what other tools can load', async () => {
    const { code, stdout, stderr } = await whole();
    expect(stderr).not.toContain('Error');
    expect(code).toBe(0);
    const results = JSON.parse(await readFile(at('whole', 'results.json'), 'utf8')) as Results;
    expect(results.methods.map(m => m.name)).toEqual([
      'uniform',
      'order0',
      'unigram',
      'source',
      'truncated',
      'fvt',
      's2t2',
      'scratch',
    ]);
    expect(stdout).toContain(`${resultsTable(results)}\n`);
    for (const [, percent] of stderr.matchAll(/ (-?[\d.]+|NaN)%/g))
      expect(Number(percent) >= 0 && Number(percent) <= 100, percent).toBe(true);
    const row = (name: string) => results.methods.find(m => m.name === name)!;
    // Learning happened: finetuning helps every start.
    for (const name of ['source', 'truncated', 'fvt', 's2t2'])
      expect(row(name).after.bitsPerByte, name).toBeLessThan(row(name).before!.bitsPerByte);
    expect(row('scratch').before).toBeNull();
    // Fair: the plan's training is inside the budget.
    for (const name of ['source', 'truncated', 'fvt', 's2t2', 'scratch'])
      expect(Math.abs(row(name).tokens - 1500), name).toBeLessThan(128);
    const { model, tokenizer } = await loadModel(at('whole', 'model'));
    expect(model.config).toMatchObject({ vocabSize: tokenizer.vocabSize, tied: false });
    expect((await readdir(at('whole', 'model'))).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect(await readFile(at('whole', 'model', 'README.md'), 'utf8')).toContain(
      `${row('s2t2').after.bitsPerByte.toFixed(4)} ± `,
    );
    const plan = await loadPlan(at('whole', 'plan.safetensors'), { target: tokenizer.hash });
    expect(plan.values.length).toBe(results.plan!.support);
    const { rows, columns, support, residual } = results.plan!;
    expect(stdout).toContain(`plan ${rows}×${columns}: ${support.toLocaleString('en')} entries, `);
    expect(stdout).toContain(`${(100 * residual).toFixed(2)}% of the mass misplaced`);
    const source = await loadModel(fixture.model);
    expect(stdout).toContain(`${explanationTable(explainPlan(plan, source.tokenizer, tokenizer))}\n`);
  });

  test('the paper by two processes is the paper by one', async () => {
    // Pieces of bundled texts are longer than what the tiny model reads.
    const { model, tokenizer } = await loadModel(fixture.model);
    const longer = { ...model, config: { ...model.config, context: 1024 } };
    await saveModel(at('longer'), { model: longer, tokenizer });
    const rates = at('rates.jsonl');
    await writeFile(
      rates,
      gridText(
        ['enzymes', 'chinese'].flatMap(domain =>
          ['source', 'scratch'].map(name => {
            const cell = { rate: 1e-3, planRate: 1e-2, bodyRate: 1, before: null, bitsPerByte: 4, chosen: true };
            return { domain, tokens: 300, name, ...cell };
          }),
        ),
      ),
    );
    // Data of the user's own making, here a copy of what is bundled.
    const data = at('domains-of-mine');
    await mkdir(data);
    for (const file of ['json', 'train.fasta.gz', 'validation.fasta.gz', 'test.fasta.gz'])
      await copyFile(dataFolder(`enzymes.${file}`), join(data, `enzymes.${file}`));
    const by = async (name: string, ...more: string[]) => {
      const ended = await (more.some(word => word === '--jobs' || word === '--helper') ? spawned : s2t2)([
        'paper',
        '--model',
        at('longer'),
        '--domain',
        'enzymes',
        '--data',
        data,
        '--out',
        at(name),
        '--tokens',
        '300',
        '--held-out',
        '2',
        '--seeds',
        '2',
        '--lines',
        'source,scratch',
        '--rates',
        rates,
        '--plain-simd',
        ...more,
      ]);
      expect(ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('Error') as string });
      return { stderr: ended.stderr, begun: (ended.stderr.match(/^(table|equal bytes): .*$/gm) ?? []).length };
    };
    const rows = async (name: string) => {
      const { table, domain } = JSON.parse(await readFile(at(name, 'results.json'), 'utf8')) as Paper;
      expect(domain).toMatchObject({ name: 'enzymes', folder: data, trainingTexts: 600 });
      return table.rows.map(r => [r.name, r.before, r.after, r.tokens]);
    };
    const one = await by('paper-1');
    expect(one.stderr).toContain('processor');
    expect(one.begun).toBe(6);
    // Which process takes which cell is a matter of time; that each is trained once, and what comes out, is not.
    const two = await by('paper-2', '--jobs', '2');
    expect(two.stderr).toContain('as asked');
    expect(two.begun).toBeLessThanOrEqual(6);
    expect(await rows('paper-2')).toEqual(await rows('paper-1'));
    // A second process by itself begins elsewhere, trains every cell, and leaves the table to the first.
    expect((await by('paper-3', '--helper', '0.5')).begun).toBe(6);
    expect(existsSync(at('paper-3', 'results.json'))).toBe(false);

    // Several domains: a table each, and one of all.
    const ended = await s2t2([
      'paper',
      '--model',
      at('longer'),
      '--domain',
      'enzymes,chinese',
      '--out',
      at('domains'),
      '--tokens',
      '1',
      '--held-out',
      '2',
      '--seeds',
      '1',
      '--lines',
      'source',
      '--rates',
      rates,
    ]);
    const papers = await Promise.all(
      ['enzymes', 'chinese'].map(
        async domain => JSON.parse(await readFile(at('domains', domain, 'results.json'), 'utf8')) as Paper,
      ),
    );
    const written = await readFile(at('domains', 'domains.md'), 'utf8');
    expect(written).toBe(domainsMarkdown(papers));
    expect(ended.stdout).toContain(`${written}\n`);
  });

  test('killed in the middle and run again it ends with the same files', async () => {
    await whole();
    const args = job(at('killed'), '--save-every', '0');
    const first = await spawned(args, signalAt('SIGKILL', { file: /s2t2\.plan\.safetensors$/ }));
    expect(first.signal).toBe('SIGKILL');
    expect(existsSync(at('killed', 'results.json'))).toBe(false);
    const second = await s2t2(args);
    expect(second.code).toBe(0);
    expect(await fingerprint(at('killed'))).toEqual(await fingerprint(at('whole')));
  });

  test('Ctrl-C saves, says how to resume and exits with 130; the next run resumes', async () => {
    await whole();
    const stopped = await spawned(job(at('stopped')), signalAt('SIGINT', { text: 'truncated.finetune' }));
    expect([stopped.code, stopped.stderr.trim().split('\n').at(-1)]).toEqual([
      130,
      'stopped; run the same command again to resume',
    ]);
    const second = await s2t2(job(at('stopped')));
    expect(second.code).toBe(0);
    expect(await fingerprint(at('stopped'))).toEqual(await fingerprint(at('whole')));
  });

  test('is not resumed on a backend that would give other bits', async () => {
    await whole();
    const { code, stderr } = await s2t2(['--backend', 'reference', ...job(at('whole'))]);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(
        /belongs to a run with other settings: backend was "wasm[^"]*", is "reference[^"]*"; start again/,
      ),
    ]);
  });

  test('--fresh discards an earlier run', async () => {
    await whole();
    await cp(at('whole'), at('afresh'), { recursive: true });
    // The later option holds.
    const { code, stderr } = await s2t2(
      job(at('afresh'), '--seed', '1', '--tokens', '200', '--methods', 'truncated', '--fresh'),
    );
    expect([code, stderr.includes('Error')]).toEqual([0, false]);
    expect((await readdir(at('afresh'))).sort()).toEqual(['model', 'report.html', 'results.json', 'work']);
    expect((await readdir(at('afresh', 'work'))).filter(name => !/^(rows|run|truncated)\./.test(name))).toEqual([]);
  });

  test('a run that is not short says how long it will take, and does not when it resumes', async () => {
    const long = job(at('long'), '--tokens', '7000', '--batch-tokens', '64', '--methods', 'truncated');
    const [first, again] = [await s2t2(long), await s2t2(long)];
    expect([first.code, again.code]).toEqual([0, 0]);
    expect(first.stderr).toMatch(
      /^time: about [\dhmins ]+ for all rows; a step takes [\d.e-]+ s in the target vocabulary$/m,
    );
    expect(again.stderr).not.toContain('time:');
    expect(again.stdout).toBe(first.stdout);
  });

  test('where no rows are named they are the source and the start for a model of its width', async () => {
    expect([160, 161].map(width => defaultRows({ width }))).toEqual([
      ['source', 'fvt-spread'],
      ['source', 'fvt'],
    ]);
    const named = job(at('unnamed'), '--tokens', '1');
    const unnamed = named.toSpliced(named.indexOf('--methods'), 2);
    const { stderr, code } = await s2t2(unnamed);
    expect([code, stderr]).toEqual([0, expect.stringContaining('rows: source, fvt-spread; --methods names others')]);
    const { methods } = JSON.parse(await readFile(at('unnamed', 'results.json'), 'utf8')) as Results;
    expect(methods.map(({ name }) => name)).toEqual(['uniform', 'order0', 'unigram', 'source', 'fvt-spread']);
    const refused = await s2t2([...unnamed, '--save', 's2t2']);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("no model of 's2t2' to save")]);
  });

  test('without a test file a part of the data is held out, and a part of the rest for validation', async () => {
    const texts = (await readCorpus(fixture.train)).documents.length;
    const { stderr, code } = await s2t2([
      'adapt',
      '--model',
      fixture.model,
      '--data',
      fixture.train,
      '--test-share',
      '0.25',
      '--out',
      at('parted'),
      '--vocab-size',
      '64',
      '--max-bytes',
      '100',
      '--tokens',
      '1',
      '--batch-tokens',
      '128',
      '--methods',
      'source',
      '--eval-every',
      '1',
      '--eval-texts',
      '2',
    ]);
    const rest = texts - texts / 4;
    const chosen = Math.min(2, Math.floor(rest / 10));
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining(`${rest - chosen} training texts, ${chosen} for validation, ${texts / 4} held out`),
    ]);
  });

  test('explain, report, evaluate, generate and tokenize work on its files', async () => {
    await whole();
    const explained = await s2t2([
      'explain',
      '--plan',
      at('whole', 'plan.safetensors'),
      '--source',
      fixture.model,
      '--target',
      at('whole', 'model'),
      '--count',
      '3',
    ]);
    expect(explained.stdout.trim().split('\n')).toHaveLength(5);
    const again = await s2t2(['report', '--run', at('whole'), '--source', fixture.model, '--out', at('again.html')]);
    expect([again.code, again.stdout.trim()]).toEqual([0, at('again.html')]);
    expect(await readFile(at('again.html'), 'utf8')).toBe(await readFile(at('whole', 'report.html'), 'utf8'));
    const evaluated = await s2t2([
      'evaluate',
      '--model',
      at('whole', 'model'),
      '--data',
      fixture.test,
      '--max-bytes',
      '100',
    ]);
    const results = JSON.parse(await readFile(at('whole', 'results.json'), 'utf8')) as Results;
    const { after, tokensPerByte } = results.methods.find(m => m.name === 's2t2')!;
    const held = (await readCorpus(fixture.test)).documents;
    // Of texts of 120 letters at most there are pieces of 100 and of the rest.
    const pieces = held.reduce((n, d) => n + Math.ceil(d.text.length / 100), 0);
    expect(
      evaluated.stdout
        .split('\n')[2]
        .split(/\s{2,}/)
        .slice(0, 5),
    ).toEqual([
      String(pieces),
      String(held.reduce((n, d) => n + d.text.length, 0)),
      tokensPerByte.toFixed(3),
      after.perplexity.toPrecision(4),
      `${after.bitsPerByte.toFixed(4)} ± ${after.standardError.toFixed(4)}`,
    ]);
    const generated = await s2t2(['generate', '--model', at('whole', 'model'), '--prompt', 'MK', '--max-tokens', '8']);
    expect(generated.stdout).toMatch(/^MK[A-Z]*\n$/);
    const likeliest = (seed: string) =>
      s2t2([
        'generate',
        '--model',
        at('whole', 'model'),
        '--prompt',
        'MK',
        '--max-tokens',
        '8',
        '--temperature',
        '0',
        '--seed',
        seed,
      ]);
    const [one, two] = [await likeliest('1'), await likeliest('2')];
    expect([one.code, one.stdout]).toEqual([0, expect.stringMatching(/^MK[A-Z]*\n$/)]);
    expect(two.stdout).toBe(one.stdout);
    const tokenized = await s2t2(['tokenize', '--data', fixture.train, '--vocab-size', '64', '--out', at('t.json')]);
    const tokenizer = parseTokenizerJson(await readFile(at('t.json'), 'utf8'), 't.json');
    const texts = (await readCorpus(fixture.train)).documents.map(d => d.text);
    const [tokens, bytes] = [texts.reduce((n, t) => n + tokenizer.encode(t).length, 0), texts.join('').length];
    expect(tokenized.stdout).toBe(
      `64 tokens, ${(tokens / bytes).toFixed(3)} tokens per byte, written to ${at('t.json')}\n`,
    );
  });
});

test('an over-long prompt and non-finite weights are one-line errors; one text has no standard error', async () => {
  const llama = oracle('huggingface/llama');
  const long = await s2t2(['generate', '--model', llama, '--prompt', 'the cat sat '.repeat(9)]);
  expect([long.code, long.stdout]).toEqual([2, '']);
  expect(long.stderr).toMatch(/the prompt has \d+ tokens, more than the model's context of 32; shorten it\n$/);
  const { model, tokenizer } = await loadModel(llama);
  const head = tensor(new Float32Array(model.head.size).fill(Number.NaN), { shape: model.head.shape });
  await saveModel(at('nan'), { model: { ...model, head }, tokenizer });
  await writeFile(at('cat.txt'), 'the cat sat');
  const [generated, evaluated] = await Promise.all([
    s2t2(['generate', '--model', at('nan'), '--prompt', 'the']),
    s2t2(['evaluate', '--model', at('nan'), '--data', at('cat.txt')]),
  ]);
  expect([generated.code, generated.stdout, evaluated.code, evaluated.stdout]).toEqual([2, '', 2, '']);
  expect(generated.stderr).toContain('are not finite');
  expect(evaluated.stderr).toContain('is NaN');
  const one = await s2t2(['evaluate', '--model', llama, '--data', at('cat.txt')]);
  expect([one.code, one.stdout]).toEqual([0, expect.not.stringMatching(/±|NaN/)]);
});

test('a GGUF file is imported, and is accepted wherever a model directory is', async () => {
  const [file, out] = [oracle('gguf/olmo.gguf'), at('imported')];
  const imported = await s2t2(['import', file, '--out', out, '--dtype', 'bfloat16']);
  expect([imported.code, imported.stdout]).toEqual([
    0,
    expect.stringMatching(/^0 MB of weights in bfloat16, written to .*imported\n$/),
  ]);
  expect((await loadModel(out)).model.config).toEqual((await loadModel(oracle('huggingface/olmo'))).model.config);
  await writeFile(at('cats.txt'), 'the cat sat on the mat\n\na rat read a text\n');
  const [direct, directory] = await Promise.all(
    [file, oracle('huggingface/olmo')].map(model =>
      s2t2(['evaluate', '--model', model, '--data', at('cats.txt'), '--max-bytes', '16']),
    ),
  );
  const figures = (ended: Ended) =>
    ended.stdout
      .split('\n')[2]
      .split(/\s{2,}/)
      .slice(0, 6);
  expect(direct.code).toBe(0);
  expect(figures(direct)).toEqual(figures(directory));
});

test('a model is exported as a GGUF file, whose other dtypes are made of it; its name is asked for', async () => {
  const [from, file] = [oracle('huggingface/olmo'), at('new', 'exported.gguf')];
  const exported = await s2t2(['export', from, '--out', file]);
  expect([exported.code, exported.stdout]).toEqual([
    0,
    expect.stringMatching(/^0 MB of weights in float16, written to .*exported\.gguf\n$/),
  ]);
  const smaller = await s2t2(['export', file, '--out', at('other.gguf'), '--dtype', 'bfloat16', '--json']);
  expect([smaller.code, JSON.parse(smaller.stdout)]).toEqual([
    0,
    { dtype: 'BF16', bytes: expect.any(Number) as number, unknownBytes: 0, out: at('other.gguf') },
  ]);
  const [own, there] = await Promise.all([loadModel(at('other.gguf')), loadModel(from)]);
  expect([own.model.config, own.tokenizer.hash]).toEqual([there.model.config, there.tokenizer.hash]);
  const unnamed = await s2t2(['export', from, '--out', at('exported.bin')]);
  expect([unnamed.code, unnamed.stdout, unnamed.stderr]).toEqual([
    2,
    '',
    `s2t2: ${at('exported.bin')}: give the file a name that ends with .gguf\n`,
  ]);
  const same = await s2t2(['export', file, '--out', file]);
  expect([same.code, same.stderr]).toEqual([
    2,
    expect.stringMatching(/--out would be written over the model to export/),
  ]);
});

test('a model adapted to proteins is exported, and it is said which bytes llama.cpp leaves out', async () => {
  await whole();
  const { code, stderr } = await s2t2(['export', at('whole', 'model'), '--out', at('proteins.gguf')]);
  expect([code, stderr]).toEqual([
    0,
    expect.stringContaining(
      '228 of 256 byte values have no token in this vocabulary; llama.cpp leaves them out of a text\n',
    ),
  ]);
  const [own, there] = await Promise.all([loadModel(at('proteins.gguf')), loadModel(at('whole', 'model'))]);
  expect(own.tokenizer.specialTokens).toEqual(there.tokenizer.specialTokens);
  expect([...own.tokenizer.encode('MKVLAAGIVGLCAKV')]).toEqual([...there.tokenizer.encode('MKVLAAGIVGLCAKV')]);
});

test('import of a directory carries over all that is not weights, and names the rest', async () => {
  const [from, out] = [at('to-import'), at('imported-directory')];
  await cp(oracle('huggingface/olmo'), from, { recursive: true });
  const carried = ['LICENSE', 'README.md', 'chat_template.jinja', 'special_tokens_map.json', 'tokenizer.model'];
  const others = ['pytorch_model.bin', 'training_args.bin'];
  const content = (name: string) => (name.endsWith('.json') ? '{"x": 1}' : `the ${name}`);
  for (const name of [...carried, ...others]) await writeFile(join(from, name), content(name));
  await writeFile(join(from, 'merges.txt'), new Uint8Array(2 ** 20 + 1));
  await writeFile(join(from, 'picture.png'), new Uint8Array(2 ** 20 + 1));
  await mkdir(join(from, 'onnx'));
  await symlink(join(from, 'nothing'), join(from, 'link'));
  // Seven more tensors than the model has.
  const weights = await readSafetensors(join(from, 'model.safetensors'));
  const tensors = new Map<string, TensorData>();
  for (const [name, { dtype, shape }] of weights.tensors)
    tensors.set(name, { dtype, shape, data: () => weights.blocks(name) });
  const one = { dtype: 'F32' as const, shape: [1], data: Float32Array.of(1) };
  for (let i = 0; i < 7; i++) tensors.set(`value_head.${i}`, one);
  await writeSafetensors(join(from, 'more.safetensors'), tensors);
  await rename(join(from, 'more.safetensors'), join(from, 'model.safetensors'));
  const { code, stdout, stderr } = await s2t2(['import', from, '--out', out, '--dtype', 'float16', '--json']);
  expect([code, stderr.split('\n').filter(line => line.startsWith('not carried'))]).toEqual([
    0,
    ['not carried over: link, onnx, picture.png, pytorch_model.bin, training_args.bin'],
  ]);
  expect(stderr).toContain(
    'left out, since the model does not compute with them: value_head.0, value_head.1, value_head.2, value_head.3, ' +
      'value_head.4 and 2 more\n',
  );
  expect(JSON.parse(stdout)).toMatchObject({ dtype: 'F16', out });
  for (const name of carried) expect(await readFile(join(out, name), 'utf8')).toBe(content(name));
  const own = (await readdir(oracle('huggingface/olmo'))).filter(name => !/safetensors/.test(name));
  expect((await readdir(out)).sort()).toEqual([...own, ...carried, 'merges.txt', 'model.safetensors'].sort());
  for (const name of own.filter(name => name !== 'config.json'))
    expect(JSON.parse(await readFile(join(out, name), 'utf8'))).toEqual(
      JSON.parse(await readFile(join(from, name), 'utf8')),
    );
});

test('an adapted model keeps how its source draws tokens; what its chat template loses is said', async () => {
  const model = at('chat');
  await cp(fixture.model, model, { recursive: true });
  const change = async (name: string, fields: object) => {
    const there = JSON.parse(await readFile(join(model, name), 'utf8')) as object;
    await writeFile(join(model, name), JSON.stringify({ ...there, ...fields }));
  };
  const { added_tokens } = JSON.parse(await readFile(join(model, 'tokenizer.json'), 'utf8')) as {
    added_tokens: readonly object[];
  };
  const turn = { ...added_tokens[0], id: 320, content: '<|im_start|>' };
  await change('tokenizer.json', { added_tokens: [...added_tokens, turn] });
  await change('generation_config.json', { temperature: 0.6, eos_token_id: [1, 320] });
  await change('tokenizer_config.json', { chat_template: '<|im_start|>', model_max_length: 128 });
  const results = await Promise.all(
    ['fvt', 'source'].map(async save => {
      const out = at(`chat-${save}`);
      const { code, stderr } = await s2t2(job(out, '--model', model, '--methods', 'source,fvt', '--save', save));
      expect(code, stderr).toBe(0);
      const read = (name: string) => readFile(join(out, 'model', name), 'utf8');
      const options = JSON.parse(await read('tokenizer_config.json')) as { model_max_length?: number };
      return {
        generation: JSON.parse(await read('generation_config.json')) as object,
        options: options.model_max_length,
        said: stderr.includes('new vocabulary does not have, ordinary text now: <|im_start|>\n'),
        card: (await read('README.md')).includes('as ordinary text: `<|im_start|>`\n'),
      };
    }),
  );
  const generation = { temperature: 0.6, bos_token_id: 0, eos_token_id: 1, pad_token_id: 2 };
  expect(results).toEqual([
    { generation, options: undefined, said: true, card: true },
    { generation: { ...generation, eos_token_id: [1, 320] }, options: 128, said: false, card: false },
  ]);
});

const oracle = (name: string) => new URL(`../../oracles/${name}`, import.meta.url).pathname;

describe('what people take away', () => {
  test('results.json says what the run was made from and by', async () => {
    await whole();
    const { provenance, saved } = JSON.parse(await readFile(at('whole', 'results.json'), 'utf8')) as Results;
    expect(saved).toBe('s2t2');
    expect(provenance).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
      command: job(at('whole')),
      backend: expect.stringMatching(/^wasm: /) as string,
      model: { path: fixture.model, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
      data: [
        { use: 'training', path: fixture.train, sha256: await sha256File(fixture.train) },
        { use: 'held out', path: fixture.test, sha256: await sha256File(fixture.test) },
      ],
      settings: { vocabSize: 64, maxBytes: 100, budget: { unit: 'tokens', amount: 1500 } },
    });
    // The report says the same to people.
    const text = (await readFile(at('whole', 'report.html'), 'utf8')).replaceAll(/<[^>]*>/g, '\n');
    const { version, command, backend, model, data } = provenance!;
    const said = [version, ['s2t2', ...command].join(' '), backend, model.sha256, data[0].path, data[1].sha256!, '64'];
    for (const value of said) expect(text.split('\n')).toContain(value);
  });

  test('a row whose name says how it starts says so where --spread says otherwise', async () => {
    const notice = "'fvt-spread' spreads its rows, whatever --spread says; 'fvt' is the row without\n";
    const said = async (name: string, ...more: string[]) => {
      const { code, stderr } = await s2t2(job(at(name), '--tokens', '64', ...more));
      return [code, stderr.includes(notice)];
    };
    expect(await said('spread', '--methods', 'fvt-spread', '--spread', 'none')).toEqual([0, true]);
    expect(await said('not-spread', '--methods', 'fvt', '--spread', 'none')).toEqual([0, false]);
  });

  test('rows of a later run join the table, --save chooses the model, --log has every step', async () => {
    const out = at('grown');
    expect((await s2t2(job(out, '--methods', 'truncated', '--save', 'truncated'))).code).toBe(0);
    const first = JSON.parse(await readFile(join(out, 'results.json'), 'utf8')) as Results;
    expect([first.saved, first.plan]).toEqual(['truncated', null]);
    const log = at('steps.jsonl');
    const second = await s2t2(job(out, '--methods', 'source,s2t2', '--save', 'best', '--log', log, '--rate', '0.005'));
    expect([second.code, second.stderr.includes('truncated')]).toEqual([0, false]);
    const results = JSON.parse(await readFile(join(out, 'results.json'), 'utf8')) as Results;
    expect(results.methods.map(m => m.name)).toEqual(['uniform', 'order0', 'unigram', 'truncated', 'source', 's2t2']);
    expect(results.methods[3]).toEqual(first.methods[3]);
    // Each row says by which rates it was trained.
    const [{ rate: fromGrid }, ...given] = results.methods.slice(3).map(m => m.rates!);
    expect([fromGrid === 0.005, given.map(rates => rates.rate)]).toEqual([false, [0.005, 0.005]]);
    expect(Object.keys(results.provenance!.settings).filter(name => /rate$/i.test(name))).toEqual([]);
    const trained = results.methods.slice(3);
    const least = Math.min(...trained.map(m => m.after.bitsPerByte));
    const best = trained.find(m => m.after.bitsPerByte === least)!.name;
    expect(results.saved).toBe(best);
    // The model that is kept is the row's: it scores what the row says.
    const { stdout } = await s2t2([
      'evaluate',
      '--model',
      join(out, 'model'),
      '--data',
      fixture.test,
      '--max-bytes',
      '100',
      '--json',
    ]);
    expect((JSON.parse(stdout) as { bitsPerByte: number }).bitsPerByte).toBeCloseTo(least, 5);
    const steps = (await readFile(log, 'utf8'))
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { stage: string; step: number; rate: number; loss: number; tokens: number });
    expect(steps.filter(s => s.stage === 'source.finetune').map(s => s.step)).toEqual(
      Array.from({ length: results.methods[4].steps }, (_, i) => i + 1),
    );
    expect(steps.every(s => s.rate > 0 && s.loss > 0 && s.tokens > 0)).toBe(true);
  });

  test('a row whose model was not asked for cannot be saved', async () => {
    const { code, stderr } = await s2t2(job(at('unsaved'), '--methods', 'source', '--save', 'fvt'));
    expect([code, stderr]).toEqual([2, expect.stringContaining("no model of 'fvt' to save")]);
  });

  test('evaluate writes a line for every text, which add up', async () => {
    await whole();
    const file = at('texts.jsonl');
    const model = at('whole', 'model');
    const args = ['--model', model, '--data', fixture.test, '--max-bytes', '100', '--per-text', file, '--json'];
    const { stdout } = await s2t2(['evaluate', ...args]);
    const { bitsPerByte, texts } = JSON.parse(stdout) as { bitsPerByte: number; texts: number };
    const lines = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { text: string; nats: number; bytes: number });
    expect(lines).toHaveLength(texts);
    const sum = (of: 'nats' | 'bytes') => lines.reduce((n, l) => n + l[of], 0);
    expect(sum('nats') / Math.LN2 / sum('bytes')).toBeCloseTo(bitsPerByte, 12);
    expect(lines[0].text.length).toBe(lines[0].bytes);
  });
});

test('evaluate --json counts what it skipped and what is unknown to the model', async () => {
  await whole();
  await writeFile(at('stops.fasta'), '>a\nMKVLAA\n>b\nMK*VL\n');
  await writeFile(at('strange.txt'), 'MKVL\n\nMKé\n\n€é\n');
  const evaluated = async (file: string) => {
    const { stdout } = await s2t2([
      'evaluate',
      '--model',
      at('whole', 'model'),
      '--data',
      at(file),
      '--json',
      '--quiet',
    ]);
    return JSON.parse(stdout) as object;
  };
  const skipped = { empty: 0, tooShort: 0, tooLong: 0, stops: 0 };
  expect(await evaluated('stops.fasta')).toMatchObject({
    texts: 1,
    format: 'fasta',
    skipped: { ...skipped, stops: 1 },
    unknown: { bytes: 0, texts: 0 },
  });
  expect(await evaluated('strange.txt')).toMatchObject({
    texts: 3,
    format: 'text',
    skipped,
    unknown: { bytes: 7, texts: 2 },
  });
});

describe('the terminal', () => {
  test('without a command it prints help; a misspelt command or option gets a suggestion', async () => {
    const bare = await spawned([]);
    expect([bare.code, bare.stdout, bare.stderr]).toEqual([0, expect.stringMatching(/^Usage: s2t2 /), '']);
    const mistaken = await spawned(['evaluate', '--model', at('missing'), '--data', fixture.test]);
    expect([mistaken.code, mistaken.stdout]).toEqual([2, '']);
    expect(mistaken.stderr).toMatch(/^s2t2: .*missing.*: no such file or directory; check the path\n$/);
    for (const [args, message] of [
      [['adpat', '--model', 'x'], /unknown command 'adpat'\n\(Did you mean adapt\?\)/],
      [['adapt', '--hlep'], /unknown option '--hlep'\n\(Did you mean --help\?\)/],
      [['adapt'], /option '--model <dir>' is missing/],
    ] as const) {
      const { code, stderr } = await s2t2([...args]);
      expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
    }
  });

  test('a named token that the plan lacks is an error, not an empty table', async () => {
    await whole();
    const args = [
      '--plan',
      at('whole', 'plan.safetensors'),
      '--source',
      fixture.model,
      '--target',
      at('whole', 'model'),
    ];
    const { code, stdout, stderr } = await s2t2(['explain', ...args, '--token', 'nosuch']);
    expect([code, stdout, stderr.trim()]).toEqual([
      2,
      '',
      expect.stringMatching(/^s2t2: the plan has no target token "nosuch"/),
    ]);
  });

  test('a file name with an escape sequence is shown, not obeyed', async () => {
    const { code, stderr } = await s2t2(['evaluate', '--model', at('\u001b[31m\u009b\u202e'), '--data', fixture.test]);
    expect(code).toBe(2);
    expect(stderr).toContain('\\x1b[31m\\x9b\\u{202e}');
  });

  test.each([
    ['a command', ['\u001b[31mfoo'], "error: unknown command '\\x1b[31mfoo'"],
    ['an option', ['adapt', '--\u001b[31m'], "error: unknown option '--\\x1b[31m'"],
    ['a number', ['adapt', '--seed', '\u009b2J'], "argument '\\x9b2J' is invalid"],
    ['a choice', ['evaluate', '--format', '\u202ex'], "argument '\\u{202e}x' is invalid"],
    ['a pattern', ['tokenize', '--pattern', '(\u0007'], "argument '(\\x07' is invalid"],
    ['a domain', ['data', 'a\n\u001b[2J'], "value 'a\\n\\x1b[2J' is invalid"],
  ])('a mistake that quotes %s shows its control characters', async (_, args, message) => {
    const { code, stdout, stderr } = await s2t2(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^error: [ -~\p{L}]+\n(\(Did you mean [^\n]+\)\n)?\(--help lists the options\)\n$/u);
  });

  test('a continued prompt keeps its tabs, selectors and joiners', async () => {
    await whole();
    const model = ['--model', at('whole', 'model'), '--max-tokens', '1'];
    const prompt = 'MK\n\tVL ❤\ufe0f می\u200cخ 👩\u200d👧';
    const { code, stdout, stderr } = await s2t2(['generate', ...model, '--prompt', `${prompt}\u001b[31m`]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.startsWith(`${prompt}\\x1b[31m`)).toBe(true);
  });

  test('a temperature of 0.0 is 0', async () => {
    await whole();
    const at0 = (temperature: string) =>
      s2t2(['generate', '--model', at('whole', 'model'), '--max-tokens', '3', '--temperature', temperature]);
    expect((await at0('0.0')).stdout).toBe((await at0('0')).stdout);
    expect((await at0('-1')).stderr).toContain('Expected a number of 0 or more');
  });

  test('a learning rate that makes the loss infinite is one line', async () => {
    const { code, stderr } = await s2t2(job(at('diverged'), '--rate', '1e9', '--methods', 'source'));
    expect([code, stderr.trim().split('\n').at(-1)]).toEqual([
      2,
      expect.stringMatching(
        /^s2t2: train: the loss is (NaN|Infinity) at step \d+; lower the learning rate \(1000000000\)/,
      ),
    ]);
  });

  test('a reader that leaves before the table does not keep the report from being written', async () => {
    const child = spawn(process.execPath, [cli, ...job(at('unread'), '--methods', 'source')], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    child.stdout!.destroy();
    const code = await new Promise(resolve => child.on('exit', resolve));
    expect(code).toBe(141);
    expect(existsSync(at('unread', 'report.html'))).toBe(true);
  });

  test.skipIf(process.platform !== 'linux')('output to a full disk fails with one line', async () => {
    await whole();
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [cli, 'report', '--run', at('whole'), '--source', fixture.model], {
      stdio: ['ignore', full, 'pipe'],
    });
    closeSync(full);
    let stderr = '';
    child.stderr!.on('data', (d: Buffer) => {
      stderr += d.toString();
    });
    const code = await new Promise(resolve => child.on('close', resolve));
    expect([code, stderr]).toEqual([2, 's2t2: standard output: no space left on the disk; free some and run again\n']);
  });
});

/** A table that takes seconds, where it is not rejected as it should be. */
const smallPaper = ['--tokens', '1', '--held-out', '2', '--seeds', '1', '--lines', 'scratch', '--tune', 'rate'];

describe('mistakes give one line, exit code 2, and write nothing', () => {
  /** A copy of the model directory with one file changed. */
  async function brokenModel(name: string, change: (dir: string) => Promise<void>): Promise<string> {
    await cp(fixture.model, at(name), { recursive: true });
    await change(at(name));
    return at(name);
  }
  const withData = async (name: string, text: string) => {
    await writeFile(at(name), text);
    return ['adapt', '--model', fixture.model, '--data', at(name), '--out', at('none')];
  };
  const withModel = async (name: string, change: (dir: string) => Promise<void>) => [
    'adapt',
    '--model',
    await brokenModel(name, change),
    '--data',
    fixture.train,
    '--out',
    at('none'),
  ];

  const cases: [string, () => Promise<string[]>, RegExp][] = [
    [
      'a missing file',
      async () => ['adapt', '--model', fixture.model, '--data', at('missing.fasta'), '--out', at('none')],
      /missing\.fasta: no such file/,
    ],
    [
      'a missing model',
      async () => ['adapt', '--model', at('missing'), '--data', fixture.train, '--out', at('none')],
      /missing.*no such file/,
    ],
    ['an empty FASTA file', () => withData('empty.fasta', ''), /empty\.fasta: is empty/],
    [
      'too few texts to hold one out',
      () => withData('one.fasta', '>a\nMKVLAAGIVGLCAKV\n'),
      /one\.fasta: too few texts \(1\) to hold out a share of 0\.\d+; give a test file with --test/,
    ],
    ['a FASTA file with digits', () => withData('digits.fasta', '>a\nMKV\n>b\nMK3V\n'), /digits\.fasta:4: /],
    [
      'truncated weights',
      () => withModel('cut', dir => truncate(join(dir, 'model.safetensors'), 5000)),
      /model\.safetensors: /,
    ],
    [
      'a header whose offsets lie',
      () =>
        withModel('lies', async dir => {
          const file = join(dir, 'model.safetensors');
          const bytes = await readFile(file);
          const text = bytes
            .toString('latin1')
            .replace(/"data_offsets":\[0,(\d)/, (_, d: string) => `"data_offsets":[0,${(Number(d) % 9) + 1}`);
          await writeFile(file, Buffer.from(text, 'latin1'));
        }),
      /model\.safetensors: /,
    ],
    [
      'a GGUF file that ends too early',
      async () => {
        await copyFile(oracle('gguf/olmo.gguf'), at('cut.gguf'));
        await truncate(at('cut.gguf'), 20_000);
        return ['import', at('cut.gguf'), '--out', at('none')];
      },
      /cut\.gguf: not a valid GGUF file: tensor "[\w.]+" ends at byte \d+ and the file has 20000; copy or download/,
    ],
    [
      'a tokenizer that does not fit the model',
      () =>
        withModel('misfit', async dir => {
          const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as { vocab_size: number };
          await writeFile(join(dir, 'config.json'), JSON.stringify({ ...config, vocab_size: 100 }));
        }),
      /has 320 tokens and the model 100 rows/,
    ],
    [
      'a plan for another vocabulary',
      async () => {
        await whole();
        return [
          'explain',
          '--plan',
          at('whole', 'plan.safetensors'),
          '--source',
          at('whole', 'model'),
          '--target',
          at('whole', 'model'),
        ];
      },
      /plan\.safetensors: was made for another source vocabulary/,
    ],
    ['an unknown method', async () => [...job(at('none')), '--methods', 'magic'], /unknown method 'magic'/],
    [
      'an unknown ablation',
      async () => ['paper', '--ablate', 'share,magic', '--out', at('none')],
      /Unknown ablation magic; expected names from: alpha, /,
    ],
    [
      'an unknown domain',
      async () => ['paper', '--domain', 'rna,magic', '--out', at('none')],
      /Unknown domain magic; expected names from: /,
    ],
    [
      'a directory without the domain',
      async () => ['paper', '--domain', 'rna', '--data', directory, '--out', at('none'), ...smallPaper],
      /holds no rna\.json; make it with npm run s2t2 -- data rna --out /,
    ],
    [
      'a state of another run',
      async () => {
        await whole();
        await cp(at('whole'), at('other'), { recursive: true });
        return job(at('other'), '--seed', '1');
      },
      /work\/run\.json: belongs to a run with other settings: settings\.seed was 0, is 1; start again with --fresh/,
    ],
  ];
  test.each(cases)('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await s2t2(await args());
    expect(stderr).toMatch(message);
    expect([code, stdout, existsSync(at('none'))]).toEqual([2, '', false]);
    const own = stderr
      .trim()
      .split('\n')
      .filter(line => !/^(wasm|reference):|training texts|--help|: (FASTA|plain text|JSON Lines), /.test(line));
    expect(own).toHaveLength(1);
  });

  const least = { '--vocab-size': 4, '--tokens': 1, '--batch-tokens': 1, '--iterations': 1, '--seed': 0 };
  const wrong: [string, string[], string, string][] = [
    ...Object.entries(least).flatMap(([option, n]): [string, string[], string, string][] => [
      ['adapt', [], option, String(n - 1)],
    ]),
    ['start', [], '--tokens', 'many'],
    ['start', [], '--max-test', '1'],
    ...['0.5'].map((value): [string, string[], string, string] => ['adapt', [], '--tokens', value]),
    ...['-0.1', ''].map((value): [string, string[], string, string] => ['adapt', [], '--plan-share', value]),
    ...['0', 'Infinity'].map((value): [string, string[], string, string] => ['adapt', [], '--rate', value]),
    ['tokenize', [], '--vocab-size', '3'],
    ['evaluate', [], '--max-bytes', '0'],
    ['generate', [], '--max-tokens', '0'],
    ['generate', [], '--top-p', '2'],
    ['explain', [], '--top', '0'],
    ['explain', [], '--count', '0'],
    ['paper', [], '--held-out', '1'],
    ...['--train', '--validation', '--test'].map((option): [string, string[], string, string] => [
      'data',
      ['rna'],
      option,
      '0',
    ]),
    ['pretrain', [], '--vocab-size', '258'],
  ];
  test('a number out of range, or not a number', async () => {
    const asked = {
      whole: 'Expected a whole number',
      positive: 'Expected a number above 0',
      fraction: 'Expected a number from 0 to 1',
    };
    const kindOf = (option: string) =>
      ['--plan-share', '--top-p'].includes(option) ? 'fraction' : option === '--rate' ? 'positive' : 'whole';
    for (const [command, positional, option, value] of wrong) {
      const { code, stdout, stderr } = await s2t2([command, ...positional, option, value]);
      const lowest = command === 'adapt' && option in least ? least[option as keyof typeof least] : undefined;
      expect([command, option, value, code, stdout]).toEqual([command, option, value, 2, '']);
      expect(stderr).toContain(`argument '${value}' is invalid. ${asked[kindOf(option)]}`);
      if (lowest !== undefined) expect(stderr).toMatch(new RegExp(`(of ${lowest} or more|from ${lowest} to )`));
    }
  });

  test.each([
    ['adapt', '--batch-tokens', '1e12', '16,777,216'],
    ['adapt', '--iterations', '1e9', '1,000'],
    ['adapt', '--lora-rank', '1e9', '1,024'],
    ['pretrain', '--batch-tokens', '1e12', '16,777,216'],
    ['paper', '--seeds', '1e15', '1,000'],
    ['paper', '--jobs', '1e6', '256'],
  ])('%s %s %s: the length of an array, or a number of processes', async (name, option, value, most) => {
    expect(await s2t2([name, option, value])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(`'${value}' is invalid. Expected a whole number from 1 to ${most}.`) as string,
    });
  });

  test('a state that was trained with another rate: one line names both, and --fresh', async () => {
    await whole();
    await cp(at('whole'), at('other-rate'), { recursive: true });
    const { code, stdout, stderr } = await s2t2(job(at('other-rate'), '--rate', '0.5', '--methods', 'fvt'));
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr.trim().split('\n').at(-1)).toMatch(
      /^s2t2: .*fvt\.finetune\.safetensors: belongs to .*: rate was [\d.]+, is 0\.5; start again with --fresh, or/,
    );
  });

  test('the weights of another model do not load', async () => {
    await whole();
    const dir = await brokenModel('shapes', async d => {
      await copyFile(at('whole', 'model', 'model.safetensors'), join(d, 'model.safetensors'));
    });
    const { code, stderr } = await s2t2(['evaluate', '--model', dir, '--data', fixture.test]);
    expect([code, /has shape \[\d+, 32\], and config\.json asks for \[320, 32\]/.test(stderr)]).toEqual([2, true]);
  });
});
