/**
 * Splits hold none of each other's relatives, whatever is related to what; domains are made the same each time from
 * packages of a few files; what is missing is told.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../../../models/sha256.ts';
import { loadDomain } from '../../../../s2t2/app/data/domains.ts';
import { makeDomain, type MakeOptions } from '../../../../s2t2/app/data/make.ts';
import type { Item } from '../../../../s2t2/app/data/readers.ts';
import {
  chooseApart,
  cluster,
  countRelatives,
  type Hit,
  searchSequences,
  searchTexts,
  split,
  stretch,
} from '../../../../s2t2/app/data/relatives.ts';
import { dataFolder } from '../../../../s2t2/app/data/tools.ts';
import { refusal, temporaryDirectory } from '../../../models/temporary.ts';
import { japanesePages, unpack } from './packages.ts';

const directory = temporaryDirectory();
const hit = (query: string, target: string, similarity: number, coverage = 1): Hit => ({
  query,
  target,
  similarity,
  coverage,
});
const item = (name: string, label?: string): Item => ({ name, text: name, label });

describe('split', () => {
  const close = { similarity: 0.5, coverage: 0.8 };
  /** Items i and j are related as drawn; the search tells it of either as the query, once. */
  const relations = fc.record({
    count: fc.integer({ min: 3, max: 40 }),
    labels: fc.integer({ min: 1, max: 3 }),
    pairs: fc.array(
      fc.tuple(
        fc.nat(39),
        fc.nat(39),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
      ),
      { maxLength: 30 },
    ),
    sizes: fc.record({
      train: fc.integer({ min: 1, max: 20 }),
      validation: fc.integer({ min: 1, max: 5 }),
      test: fc.integer({ min: 1, max: 5 }),
    }),
    seed: fc.nat(9),
  });

  test('takes as many as asked, none twice, labels in turn, no close pair across splits or held out', async () => {
    await fc.assert(
      fc.asyncProperty(relations, async ({ count, labels, pairs, sizes, seed }) => {
        const items = Array.from({ length: count }, (_, i) =>
          item(`${i}`, labels > 1 ? `label ${i % labels}` : undefined),
        );
        const hits = pairs
          .filter(([a, b]) => a !== b)
          .map(([a, b, similarity, coverage]) => hit(`${a}`, `${b}`, similarity, coverage));
        const search = (queries: readonly Item[], targets: readonly Item[]) => {
          const [from, to] = [new Set(queries.map(q => q.name)), new Set(targets.map(t => t.name))];
          return hits.filter(h => from.has(h.query) && to.has(h.target));
        };
        const make = () => split(items, sizes, { seed, close, search });
        const wanted = sizes.train + sizes.validation + sizes.test;
        if (count < wanted) {
          expect(await refusal(make())).toBe(
            `there are ${count} texts, fewer than the ${wanted} asked for; ask for fewer`,
          );
          return;
        }
        const result = await make().catch((error: Error) => error);
        if (result instanceof Error) {
          expect(result.message).toMatch(/^only \d+ of \d+ held-out texts have no close relative; ask for fewer$/);
          return;
        }
        expect(await make()).toEqual(result);
        const { train, validation, test } = result.splits;
        expect([train.length, validation.length, test.length]).toEqual([sizes.train, sizes.validation, sizes.test]);
        const names = (items: readonly Item[]) => items.map(i => i.name);
        expect(new Set(names([...train, ...validation, ...test])).size).toBe(wanted);
        const held = new Set(names([...validation, ...test]));
        const known = new Set([...held, ...names(train)]);
        // A hit of a training item in a held-out one is not asked for: candidates are the queries.
        expect(
          hits.filter(h => h.similarity >= 0.5 && h.coverage >= 0.8 && held.has(h.query) && known.has(h.target)),
        ).toEqual([]);
        const shares = Array.from(
          { length: labels },
          (_, l) => train.filter(i => Number(i.name) % labels === l).length,
        );
        const available = Math.floor(count / labels);
        if (sizes.train <= available * labels) expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('passes over relatives of training and of those chosen before, whichever way the hit goes', () => {
    const candidates = ['a', 'b', 'c', 'd'].map(name => item(name));
    const hits = [hit('a', 'train', 1), hit('c', 'b', 1)];
    const choose = (count: number) => chooseApart(candidates, [item('train')], count, hits);
    expect(choose(9)).toEqual({ chosen: [candidates[1], candidates[3]], rejected: 2 });
    expect(choose(1)).toEqual({ chosen: [candidates[1]], rejected: 1 });
    expect(chooseApart([item('x')], [item('train')], 1, [hit('train', 'x', 1)])).toEqual({ chosen: [], rejected: 1 });
  });

  test('a hit just below either bound excludes nothing', async () => {
    const items = ['a', 'b', 'c'].map(name => item(name));
    const related = (similarity: number, coverage: number) =>
      split(
        items,
        { train: 1, validation: 1, test: 1 },
        {
          seed: 0,
          close,
          search: () => items.flatMap(({ name: a }) => items.map(({ name: b }) => hit(a, b, similarity, coverage))),
        },
      );
    expect((await related(0.49, 1)).replaced).toBe(0);
    expect((await related(1, 0.79)).replaced).toBe(0);
    expect(await refusal(related(0.5, 0.8))).toBe('only 0 of 2 held-out texts have no close relative; ask for fewer');
  });

  test('a query counts once, by its closest hit; hits that cover too little count apart', () => {
    const hits = [
      hit('a', 't', 0.2, 0.9),
      hit('a', 'u', 0.4, 0.9),
      hit('b', 't', 0.29, 0.8),
      hit('c', 't', 0.7, 0.3),
      hit('d', 't', 0.5, 0.8),
    ];
    expect(
      countRelatives(
        ['a', 'b', 'c', 'd', 'e'].map(name => item(name)),
        hits,
        close,
      ),
    ).toEqual({ close: 1, closest: { '0.2': 1, '0.4': 1, '0.5': 1 }, withoutHit: 2, withShortCloseHit: 1 });
  });
});

test('shared stretches are counted as in a hand-made example', () => {
  // Pieces that repeat, so that stretches are shared within a text and between texts.
  const text = fc
    .array(fc.constantFrom('a'.repeat(20), 'b'.repeat(13), 'abcdefghijklmnopqrstuvwxyz', '日本語'), {
      minLength: 1,
      maxLength: 6,
    })
    .map(pieces => pieces.join(''));
  const texts = fc
    .array(text, { minLength: 1, maxLength: 5 })
    .map(all => all.map((t, i) => ({ name: `${i}`, text: t })));
  const stretchesOf = ({ text }: Item) => [
    ...new Set(
      text.length < stretch
        ? [text]
        : Array.from({ length: text.length - stretch + 1 }, (_, i) => text.slice(i, i + stretch)),
    ),
  ];
  const order = (hits: readonly Hit[]) =>
    [...hits].sort((a, b) => Number(a.query) - Number(b.query) || Number(a.target) - Number(b.target));
  fc.assert(
    fc.property(texts, fc.nat(4), (all, n) => {
      const queries = all.slice(0, 1 + n);
      const expected = queries
        .flatMap(query =>
          all
            .filter(target => target !== query)
            .map(target => {
              const [own, others] = [stretchesOf(query), new Set(stretchesOf(target))];
              return hit(query.name, target.name, own.filter(s => others.has(s)).length / own.length);
            }),
        )
        .filter(h => h.similarity > 0);
      expect(order(searchTexts(queries, all))).toEqual(expected);
    }),
  );
});

/** Folders for a domain's making. */
const options = (more: Partial<MakeOptions> = {}): MakeOptions => {
  const root = mkdtempSync(join(directory, 'run-'));
  return { out: join(root, 'out'), work: join(root, 'work'), seed: 0, log: () => {}, ...more };
};

describe('making a domain', () => {
  test('gives the same files each time, apart, as the record says, which loadDomain reads', async () => {
    const runs = [options({ train: 12, validation: 3, test: 4 }), options({ train: 12, validation: 3, test: 4 })];
    for (const run of runs) unpack(run.work, japanesePages(40));
    const records = await Promise.all(runs.map(run => makeDomain('japanese', run)));
    expect(records[1]).toEqual(records[0]);
    expect(records[0]).toMatchObject({
      package: 'libreoffice-help-ja (Debian)',
      command: 'npm run s2t2 -- data japanese --train 12 --validation 3 --test 4 --seed 0',
      texts: 40,
    });
    const files = readdirSync(runs[0].out).sort();
    expect(files).toEqual([
      'japanese.json',
      'japanese.test.jsonl.gz',
      'japanese.train.jsonl.gz',
      'japanese.validation.jsonl.gz',
    ]);
    for (const file of files)
      expect(readFileSync(join(runs[1].out, file))).toEqual(readFileSync(join(runs[0].out, file)));
    for (const part of ['train', 'validation', 'test'] as const)
      expect(sha256(gunzipSync(readFileSync(join(runs[0].out, `japanese.${part}.jsonl.gz`))))).toBe(
        records[0].splits[part].sha256,
      );
    expect(JSON.parse(readFileSync(join(runs[0].out, 'japanese.json'), 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(records[0])),
    );

    const { train, validation, test, unit } = await loadDomain('japanese', runs[0].out);
    const bytes = (texts: readonly string[]) => Buffer.byteLength(texts.join(''));
    expect(unit).toBe('byte');
    expect(records[0].splits).toMatchObject({
      train: { texts: 12, units: bytes(train) },
      validation: { texts: 3, units: bytes(validation) },
      test: { texts: 4, units: bytes(test) },
    });
    expect(new Set([...train, ...validation, ...test]).size).toBe(19);

    const other = options({ train: 12, validation: 3, test: 4, seed: 1 });
    unpack(other.work, japanesePages(40));
    expect((await makeDomain('japanese', other)).splits).not.toEqual(records[0].splits);

    const split = join(runs[0].out, 'japanese.train.jsonl.gz');
    const lines = gunzipSync(readFileSync(split)).toString().split('\n');
    writeFileSync(split, gzipSync(lines.slice(3).join('\n')));
    expect(await refusal(loadDomain('japanese', runs[0].out))).toMatch(
      /japanese\.train\.jsonl\.gz: does not have the SHA-256 that .*japanese\.json records; make the data again with/,
    );
    writeFileSync(join(runs[0].out, 'japanese.json'), '{"splits":{}}');
    expect(await refusal(loadDomain('japanese', runs[0].out))).toMatch(
      /japanese\.json: splits\.train: is missing; make the data again with/,
    );
  });

  test('a request for more texts than exist is rejected with their number', async () => {
    const run = options({ train: 50 });
    unpack(run.work, japanesePages(40));
    expect(await refusal(makeDomain('japanese', run))).toBe(
      'japanese: there are 40 texts, fewer than the 82 asked for; ask for fewer',
    );
    expect(readdirSync(run.out)).toEqual([]);
  });
});

describe('programs of the system', () => {
  const { PATH } = process.env;
  afterEach(() => {
    process.env.PATH = PATH;
  });
  /** From here on the only programs there are. */
  const programs = (scripts: Readonly<Record<string, string>>) => {
    const bin = mkdtempSync(join(directory, 'bin-'));
    for (const [name, script] of Object.entries(scripts)) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(bin, name), 0o755);
    }
    process.env.PATH = bin;
  };

  test('a missing one is named, with what to do', async () => {
    programs({});
    expect(await refusal(makeDomain('dna', options()))).toBe(
      'apt-get: not found; this needs Debian or Ubuntu; elsewhere fetch the package from packages.debian.org and ' +
        'give --package FILE',
    );
    expect(await refusal(makeDomain('code', options()))).toBe('npm: not found; it comes with Node');
    const file = join(directory, 'some.deb');
    writeFileSync(file, '');
    expect(await refusal(makeDomain('rna', options({ package: file })))).toBe(
      'dpkg-deb: not found; install it with your package manager (dpkg)',
    );
    const run = options();
    unpack(run.work, {
      'microbiomeutil-data/usr/share/microbiomeutil-data/RESOURCES/rRNA16S.gold.fasta': '>a\nACGT\n',
    });
    expect(await refusal(makeDomain('rna', run))).toBe('mmseqs: not found; install it with: apt-get install mmseqs2');
    unpack(run.work, { 'kleborate-examples/x': '' });
    expect(await refusal(makeDomain('dna', run))).toBe('xz: not found; install it with: apt-get install xz-utils');
  });

  test('one that fails is reported with its last line, and leaves no partial package', async () => {
    programs({ 'apt-get': 'echo "Reading lists" >&2; echo "E: Unable to locate package" >&2; exit 100' });
    expect(await refusal(makeDomain('dna', options()))).toBe(
      'apt-get: failed: E: Unable to locate package; try apt-get update, or fetch the package from ' +
        'packages.debian.org and give --package FILE',
    );
    programs({ npm: 'echo "npm error code ENOTFOUND" >&2; echo "npm error network" >&2; exit 1' });
    expect(await refusal(makeDomain('code', options()))).toBe(
      'npm: failed: npm error code ENOTFOUND; check the network connection and run again',
    );
    programs({
      'apt-get': ': > kleborate-examples_1.deb',
      'dpkg-deb': '/bin/mkdir "$3"; echo "dpkg-deb: error: not an archive" >&2; exit 2',
    });
    const run = options();
    expect(await refusal(makeDomain('dna', run))).toBe(
      'dpkg-deb: failed: dpkg-deb: error: not an archive; is the package whole, and is there room on the disk?',
    );
    expect(existsSync(join(run.work, 'kleborate-examples'))).toBe(false);
  });

  test('a package whose files changed since it was unpacked is unpacked again', async () => {
    const run = options({ train: 12, validation: 3, test: 4 });
    const lines: string[] = [];
    const make = () => makeDomain('japanese', { ...run, log: line => lines.push(line) });
    const kept = mkdtempSync(join(directory, 'package-'));
    unpack(kept, japanesePages(40));
    const here = {
      'apt-get': ': > libreoffice-help-ja_1.deb',
      'dpkg-deb': `/bin/cp -r '${join(kept, 'libreoffice-help-ja')}' "$3"`,
    };
    programs(here);
    const record = await make();
    expect(lines[0]).toBe("fetching Debian's package libreoffice-help-ja");
    programs({});
    lines.length = 0;
    expect(await make()).toEqual(record);
    expect(lines).toEqual(['40 texts']);

    const root = join(run.work, 'libreoffice-help-ja');
    const page = join(root, 'usr/share/libreoffice/help/ja/text/7.html');
    const bytes = readFileSync(page);
    const altered = Buffer.from(bytes).fill('x', 40, 41);
    for (const [path, damage] of [
      [page, () => writeFileSync(page, bytes.subarray(0, 900))],
      [page, () => writeFileSync(page, altered)],
      [page, () => rmSync(page)],
      [`${page}l`, () => writeFileSync(`${page}l`, bytes)],
    ] as const) {
      damage();
      lines.length = 0;
      programs({});
      expect(await refusal(make())).toMatch(/^apt-get: not found/);
      programs(here);
      expect(await make()).toEqual(record);
      expect(lines.slice(0, 2)).toEqual([
        `${path}: was changed since it was unpacked; unpacking again`,
        "fetching Debian's package libreoffice-help-ja",
      ]);
      expect(readFileSync(page)).toEqual(bytes);
    }
    writeFileSync(join(root, '.unpacked.json'), '{"usr/');
    lines.length = 0;
    expect(await make()).toEqual(record);
    expect(lines[0]).toMatch(/\.unpacked\.json: was damaged since it was unpacked; unpacking again$/);
  });

  test("MMseqs2's tables: representatives of clusters; hits of others with the smaller coverage", async () => {
    const work = mkdtempSync(join(directory, 'mmseqs-'));
    // What it is asked, and what it answers: tables with tabs.
    programs({
      mmseqs: `echo "$@" >> asked
case $1 in
  easy-linclust) printf 'a\\ta\\na\\tb\\nc\\tc\\n' > clusters_cluster.tsv ;;
  easy-search) printf 'a\\ta\\t1\\t1\\t1\\na\\tc\\t0.5\\t0.9\\t0.25\\nc\\ta\\t0.5\\t0.25\\t0.75\\n' > hits.tsv ;;
esac`,
    });
    const items = ['a', 'b', 'c'].map(name => item(name));
    expect(await cluster(items, ['--min-seq-id', '0.3'], work)).toEqual([items[0], items[2]]);
    expect(await searchSequences(['-s', '7'], work)(items, items)).toEqual([
      hit('a', 'c', 0.5, 0.25),
      hit('c', 'a', 0.5, 0.25),
    ]);
    expect(readFileSync(join(work, 'all.fasta'), 'utf8')).toBe('>a\na\n>b\nb\n>c\nc\n');
    const asked = readFileSync(join(work, 'asked'), 'utf8').split('\n');
    expect(asked[0]).toMatch(/^easy-linclust all\.fasta clusters tmp --min-seq-id 0\.3/);
    expect(asked[1]).toMatch(/^easy-search queries\.fasta targets\.fasta hits\.tsv tmp -s 7 /);
    expect(asked[1]).toContain('--format-output query,target,fident,qcov,tcov');
  });

  test('npm is asked once, and again when its lockfile has changed', async () => {
    const run = options();
    const fixed = readFileSync(join(dataFolder('code'), 'package-lock.json'), 'utf8');
    unpack(run.work, {
      'code/package-lock.json': fixed,
      'code/node_modules/.package-lock.json': '{}',
      'code/installed.json': '{}',
    });
    programs({ npm: 'exit 1' });
    expect(await refusal(makeDomain('code', run))).toMatch(/this is not the expected package$/);
    unpack(run.work, { 'code/package-lock.json': fixed.replace('"lockfileVersion": 3', '"lockfileVersion": 2') });
    expect(await refusal(makeDomain('code', run))).toMatch(/^npm: failed/);
    expect(readFileSync(join(run.work, 'code/package-lock.json'), 'utf8')).toBe(fixed);
  });

  test.each([
    ['nothing', 'exit 0', 0, 0],
    [
      'a truncated file',
      '/bin/mkdir -p node_modules/@noble/curves/src; printf x > node_modules/@noble/curves/src/a.ts; ' +
        ': > node_modules/.package-lock.json',
      1,
      1,
    ],
  ])('npm that installs %s and exits with 0 is an error, and is asked again', async (_, npm, files, bytes) => {
    const run = options();
    const installed = JSON.parse(readFileSync(join(dataFolder('code'), 'installed.json'), 'utf8')) as Record<
      string,
      { files: number; bytes: number }
    >;
    const whole = installed['@noble/curves'];
    const message =
      `${join(run.work, 'code/node_modules/@noble/curves')}: holds ${files} files of ${bytes} bytes, not the ` +
      `${whole.files} files of ${whole.bytes} bytes of @noble/curves, and npm reported no error; is there room on ` +
      'the disk? Free some and run again';
    programs({ npm });
    expect(await refusal(makeDomain('code', run))).toBe(message);
    expect(existsSync(join(run.work, 'code/node_modules'))).toBe(false);
    expect(await refusal(makeDomain('code', run))).toBe(message);
  });

  test('packages that lost a file since npm installed them are installed again', async () => {
    const run = options();
    const cache = join(run.work, 'code');
    cpSync(dataFolder('code'), cache, { recursive: true });
    mkdirSync(join(cache, 'node_modules'));
    writeFileSync(join(cache, 'node_modules/.package-lock.json'), '{}');
    const lines: string[] = [];
    programs({ npm: 'exit 1' });
    const error = await refusal(makeDomain('code', { ...run, log: line => lines.push(line) }));
    expect(error).toMatch(/^npm: failed/);
    expect(lines[0]).toMatch(/@noble\/curves: holds 0 files of 0 bytes, not the .*; installing again$/);
  });

  test.each(['code', 'digits', 'english'])('the recorded sizes of %s are those of its dependencies', manifest => {
    const read = (file: string) => JSON.parse(readFileSync(join(dataFolder(manifest), file), 'utf8')) as object;
    const { dependencies } = read('package.json') as { dependencies: object };
    expect(Object.keys(read('installed.json'))).toEqual(Object.keys(dependencies).sort());
  });

  test('a missing package, or one not from Debian, is reported', async () => {
    const missing = join(directory, 'none.deb');
    expect(await refusal(makeDomain('greek', options({ package: missing })))).toBe(
      `${missing}: no such file; --package expects Debian's package libreoffice-help-el`,
    );
    expect(await refusal(makeDomain('code', options({ package: missing })))).toBe(
      `${missing}: --package expects a Debian package, and these texts come from npm`,
    );
  });
});
