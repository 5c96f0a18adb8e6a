/** Plan files: a file loads as it was saved or is rejected with one line; never half a plan. */
import { readFile, truncate, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, scope, tensor } from '../../engine/index.ts';
import { UserError } from '../../models/errors.ts';
import { readSafetensors, writeSafetensors } from '../../models/node/safetensors.ts';
import { type TensorData } from '../../models/safetensors/write.ts';
import { compress, expand, reportPlan, roundToMarginals, type Plan } from '../../s2t2/plan.ts';
import { loadPlan, savePlan } from '../../s2t2/app/plan-file.ts';
import { sparseSinkhorn } from '../../s2t2/sinkhorn.ts';
import { plans } from '../arbitraries/plans.ts';
import { problems, type Problem } from '../arbitraries/transport.ts';
import { refusal, temporaryDirectory } from '../models/temporary.ts';

const directory = temporaryDirectory();
const reference = createReferenceBackend(); // float64 lives there
const path = `${directory}/plan.safetensors`;

/** Two rows, three columns, one special token each: 3 target and 5 source tokens, of which id 2 has no column. */
const small: Plan = {
  ...compress([0.5, 0, 0.25, 0, 0.25, 0], 2, 3),
  mu: Float32Array.of(0.75, 0.25),
  nu: Float32Array.of(0.5, 0.25, 0.25),
  targetIds: Int32Array.of(1, 2),
  sourceIds: Int32Array.of(1, 3, 4),
  specials: Int32Array.of(0, 0),
  unseen: new Int32Array(),
  target: 't',
  source: 's',
  settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
  gap: 0.25,
};

test('a plan is the same after saving and loading', async () => {
  await fc.assert(
    fc.asyncProperty(plans(), async ({ plan, dense, sourceSize, targetSize }) => {
      await savePlan(path, plan);
      expect(await loadPlan(path, { source: plan.source, target: plan.target, sourceSize, targetSize })).toEqual(plan);
      expect([...expand(plan)]).toEqual(dense);
    }),
    { numRuns: 30 },
  );
});

test('other vocabularies are rejected', async () => {
  await savePlan(path, small);
  expect(await refusal(loadPlan(path, { source: 'x' }))).toContain(
    'was made for another source vocabulary ("s", not "x")',
  );
  expect(await refusal(loadPlan(path, { target: 'x' }))).toContain(
    'was made for another target vocabulary ("t", not "x")',
  );
  expect(await refusal(loadPlan(path, { sourceSize: 4 }))).toContain(
    'is damaged: source id 4 is outside the vocabulary of 4',
  );
  expect(await refusal(loadPlan(path, { targetSize: 4 }))).toContain(
    'is damaged: it has 3 target tokens and the vocabulary has 4',
  );
});

describe('the report', () => {
  test('is its definitions', () => {
    fc.assert(
      fc.property(plans(), ({ plan, dense }) => {
        const [u, v] = [plan.mu.length, plan.nu.length];
        const rows = Array.from({ length: u }, (_, i) => dense.slice(i * v, (i + 1) * v));
        const total = (line: readonly number[]) => line.reduce((a, b) => a + b, 0);
        const columnsOf = Array.from({ length: v }, (_, j) => rows.map(line => line[j]));
        const misplaced = (lines: readonly number[][], marginal: ArrayLike<number>) =>
          total(lines.map((line, i) => Math.abs(total(line) - marginal[i])));
        const entropies = rows.map(line =>
          total(line.filter(p => p > 0).map(p => -(p / total(line)) * Math.log2(p / total(line)))),
        );
        const supports = rows.map(line => line.filter(p => p > 0).length);
        const report = reportPlan(plan);
        expect(report).toMatchObject({
          rows: u,
          columns: v,
          support: total(supports),
          supportPerRow: [Math.min(...supports), total(supports) / u, Math.max(...supports)],
          gap: plan.gap,
        });
        expect(report.entropy).toBeCloseTo(total(entropies) / u, 12);
        expect(report.residual).toBeCloseTo((misplaced(rows, plan.mu) + misplaced(columnsOf, plan.nu)) / 2, 12);
      }),
    );
  });

  test('distinguishes a converged plan from one that has not converged', () => {
    const reported = (p: Problem, iterations: number) =>
      scope(() => {
        const t = (values: readonly number[], shape: number[]) =>
          tensor(Float64Array.from(values), { shape, backend: reference });
        const { plan } = sparseSinkhorn(t(p.x, [p.u, p.v]), t(p.mu, [p.u, 1]), t(p.nu, [1, p.v]), {
          variant: 'dual',
          iterations,
        });
        return reportPlan({
          ...small,
          ...compress(plan.dataSync(), p.u, p.v),
          mu: Float32Array.from(p.mu),
          nu: Float32Array.from(p.nu),
        }).residual;
      });
    fc.assert(
      fc.property(problems({ scale: 0.1 }), p => {
        expect(reported(p, 600)).toBeLessThan(1e-6);
      }),
      { numRuns: 20 },
    );
    // Here each round leaves a quarter of what was misplaced before; the columns are met in all of them.
    const slow: Problem = { u: 2, v: 2, x: [3, 0, 0, 0], mu: [0.5, 0.5], nu: [0.5, 0.5] };
    expect([1, 2, 3].map(T => reported(slow, T))).toEqual([1 / 8, 1 / 32, 1 / 128]);
  });
});

describe('rounding to the marginals', () => {
  const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const sums = (P: ArrayLike<number>, u: number, v: number) => ({
    rows: Array.from({ length: u }, (_, i) => total(Array.from({ length: v }, (_, j) => P[i * v + j]))),
    columns: Array.from({ length: v }, (_, j) => total(Array.from({ length: u }, (_, i) => P[i * v + j]))),
  });
  const distance = (a: readonly number[], b: readonly number[]) => total(a.map((x, i) => Math.abs(x - b[i])));

  test('meets both, and moves at most twice the mass that was misplaced', () => {
    fc.assert(
      fc.property(problems(), ({ u, v, x, mu, nu }) => {
        const dense = x.map(value => Math.max(0, value) / (u * v)); // about half of it zeros
        const P = roundToMarginals(dense, mu, nu);
        const after = sums(P, u, v);
        const before = sums(dense, u, v);
        const roundoff = 64 * (u + v) * 2 ** -53;
        expect(distance(after.rows, mu) + distance(after.columns, nu)).toBeLessThan(roundoff);
        expect(Math.min(...P)).toBeGreaterThanOrEqual(0);
        expect(distance([...P], dense)).toBeLessThanOrEqual(
          2 * (distance(before.rows, mu) + distance(before.columns, nu)) + roundoff,
        );
      }),
    );
  });

  test('leaves a plan that meets both as it is', () => {
    const plan = [0.5, 0, 0.25, 0, 0.25, 0];
    expect([...roundToMarginals(plan, [0.75, 0.25], [0.5, 0.25, 0.25])]).toEqual(plan);
  });
});

describe('a damaged plan is rejected:', () => {
  const set = <A extends Int32Array | Float32Array>(values: A, at: number, to: number): A => {
    const copy = values.slice() as A;
    copy[at] = to;
    return copy;
  };
  test.each<[string, (p: Plan) => Partial<Plan>, string]>([
    ['pointers that run backwards', p => ({ pointers: set(p.pointers, 1, 4) }), 'row 1 ends before it starts'],
    ['a row without entries', p => ({ pointers: set(p.pointers, 1, 0) }), 'row 0 is empty'],
    ['pointers that begin late', p => ({ pointers: set(p.pointers, 0, 1) }), 'row pointers do not match the entries'],
    ['entries that were lost', p => ({ values: p.values.slice(1) }), 'row pointers do not match the entries'],
    ['columns that were lost', p => ({ columns: p.columns.slice(1) }), 'row pointers do not match the entries'],
    ['a column too far', p => ({ columns: set(p.columns, 1, 3) }), 'entry 1 is in column 3 of 3'],
    ['a negative column', p => ({ columns: set(p.columns, 0, -1) }), 'entry 0 is in column -1 of 3'],
    ['a column twice', p => ({ columns: set(p.columns, 1, 0) }), 'row 0 has column 0 after column 0'],
    ['a negative mass', p => ({ values: set(p.values, 0, -1) }), 'entry 0 is -1, which is not positive'],
    ['a mass that is NaN', p => ({ values: set(p.values, 0, NaN) }), 'entry 0 is NaN, which is not positive'],
    ['an infinite mass', p => ({ values: set(p.values, 0, Infinity) }), 'entry 0 is Infinity, which is not positive'],
    ['a marginal of zero', p => ({ nu: set(p.nu, 1, 0) }), 'nu[1] is 0, which is not a probability'],
    ['a marginal that is NaN', p => ({ mu: set(p.mu, 0, NaN) }), 'mu[0] is NaN, which is not a probability'],
    ['a marginal that does not sum to 1', p => ({ mu: set(p.mu, 0, 0.5) }), 'mu sums to 0.75, not to 1'],
    ['too few ids', p => ({ targetIds: p.targetIds.slice(1) }), 'ids do not match marginals'],
    ['half a pair of special tokens', p => ({ specials: p.specials.slice(1) }), 'ids do not match marginals'],
    [
      'half a pair of a token never shown',
      () => ({ unseen: Int32Array.of(3) }),
      'a token that is never shown has half a pair',
    ],
    ['a row of a token never shown', () => ({ unseen: Int32Array.of(2, 0) }), 'target id 2 appears twice'],
    ['a negative piece', () => ({ unseen: Int32Array.of(3, -1) }), 'source id -1 is negative'],
    ['a negative target id', p => ({ targetIds: set(p.targetIds, 0, -1) }), 'target id -1 is negative'],
    [
      'a target id beyond the vocabulary',
      p => ({ targetIds: set(p.targetIds, 0, 3) }),
      'target id 3 is outside the vocabulary of 3',
    ],
    ['a target id twice', p => ({ targetIds: set(p.targetIds, 0, 2) }), 'target id 2 appears twice'],
    ['a special token that is a row too', p => ({ specials: set(p.specials, 0, 2) }), 'target id 2 appears twice'],
    ['a negative source id', p => ({ sourceIds: set(p.sourceIds, 0, -5) }), 'source id -5 is negative'],
    ['a source id twice', p => ({ sourceIds: set(p.sourceIds, 0, 4) }), 'source id 4 appears twice'],
    [
      'a negative source id of a special token',
      p => ({ specials: set(p.specials, 1, -1) }),
      'source id -1 is negative',
    ],
    [
      'settings of an unknown layer',
      p => ({ settings: { ...p.settings, variant: 'magic' as 'dual' } }),
      'settings.variant is not one of alternating, dykstra, dual',
    ],
    [
      'settings without rounds',
      p => ({ settings: { ...p.settings, iterations: 0 } }),
      'settings.iterations is not a whole number of 1 or more',
    ],
    [
      'settings with half a round',
      p => ({ settings: { ...p.settings, iterations: 1.5 } }),
      'settings.iterations is not a whole number of 1 or more',
    ],
    [
      'settings with an alpha of zero',
      p => ({ settings: { ...p.settings, alpha: 0 } }),
      'settings.alpha is not a positive number',
    ],
    [
      'settings with a text for alpha',
      p => ({ settings: { ...p.settings, alpha: '1' as unknown as number } }),
      'settings.alpha is not a positive number',
    ],
    [
      'settings without a division',
      p => ({ settings: { ...p.settings, rowNormalisation: undefined as unknown as 'actual' } }),
      'settings.rowNormalisation is neither actual nor nominal',
    ],
    [
      'settings that are none',
      () => ({ settings: null as unknown as Plan['settings'] }),
      'settings.variant is not one of',
    ],
    ['a gap that is a text', () => ({ gap: 'x' as unknown as number }), 'gap is neither a number nor null'],
  ])('%s', async (_, change, message) => {
    await savePlan(path, { ...small, ...change(small) });
    expect(await refusal(loadPlan(path))).toContain(`${path}: is damaged: ${message}`);
  });

  test('another piece of a token that is never shown', async () => {
    await savePlan(path, { ...small, unseen: Int32Array.of(3, 0) });
    const file = await readSafetensors(path);
    const kept = new Map<string, TensorData>();
    for (const [name, { dtype, shape }] of file.tensors)
      kept.set(name, { dtype, shape, data: name === 'unseen' ? Int32Array.of(3, 1) : await file.read(name) });
    await writeSafetensors(path, kept, Object.fromEntries(file.metadata));
    expect(await refusal(loadPlan(path))).toContain('its checksum does not match its contents');
  });

  test('a file of before knows no tokens that are never shown, and is whole', async () => {
    await savePlan(path, small);
    const file = await readSafetensors(path);
    const kept = new Map<string, TensorData>();
    for (const [name, { dtype, shape }] of file.tensors)
      if (name !== 'unseen') kept.set(name, { dtype, shape, data: await file.read(name) });
    await writeSafetensors(path, kept, Object.fromEntries(file.metadata));
    expect(await loadPlan(path)).toEqual(small);
  });

  /** The file of `small` with tensors and metadata put in the place of its own. */
  async function rewritten(
    tensors: Record<string, TensorData>,
    metadata: Record<string, string | undefined> = {},
  ): Promise<string> {
    await savePlan(path, small);
    const file = await readSafetensors(path);
    const kept: [string, TensorData][] = [];
    for (const [name, { dtype, shape }] of file.tensors)
      kept.push([name, tensors[name] ?? { dtype, shape, data: await file.read(name) }]);
    const all = { ...Object.fromEntries(file.metadata), ...metadata };
    await writeSafetensors(
      path,
      new Map(kept),
      Object.fromEntries(Object.entries(all).filter((e): e is [string, string] => e[1] !== undefined)),
    );
    return refusal(loadPlan(path));
  }
  const floats = (...values: number[]): TensorData => ({
    dtype: 'F32',
    shape: [values.length],
    data: Float32Array.from(values),
  });

  test.each(['row_pointers', 'columns', 'target_ids', 'source_ids', 'specials', 'unseen'])(
    'floats as %s',
    async name => {
      expect(await rewritten({ [name]: floats(0, 0.5) })).toBe(
        `${path}: is damaged: ${name} is F32 where whole numbers are needed`,
      );
    },
  );

  test('whole numbers as masses; ids that fit no int32', async () => {
    expect(await rewritten({ values: { dtype: 'I32', shape: [3], data: Int32Array.of(1, 1, 1) } })).toContain(
      'tensor "values" is I32 where floats are needed',
    );
    expect(
      await rewritten({
        target_ids: { dtype: 'I64', shape: [2], data: new Uint8Array(BigInt64Array.of(1n, 2n ** 40n).buffer) },
      }),
    ).toContain('holds an integer outside int32');
  });

  test.each([
    ['settings', '{"variant":', /metadata 'settings': not valid JSON \(.*\); is it complete\?$/],
    ['settings', '['.repeat(1e6), /metadata 'settings': JSON nested deeper than 64 levels/],
    ['settings', undefined, /is not a translation plan: its metadata lacks 'settings'$/],
    ['gap', '0.2\n5x', /metadata 'gap': not valid JSON/],
    ['format', 's2t2-plan-9\n', /has plan format "s2t2-plan-9\\n", and this version reads 's2t2-plan-2'$/],
    ['format', undefined, /is not a translation plan: its metadata lacks 'format'$/],
    ['source', undefined, /is not a translation plan: its metadata lacks 'source'$/],
  ])('metadata: %s (%#)', async (key, value, message) => {
    expect(await rewritten({}, { [key]: value })).toMatch(message);
  });

  test('a changed number is an error even if the shapes fit; plans of earlier versions have no checksum', async () => {
    const mu = floats(...small.mu.map(m => m * (1 + 2 ** -20)));
    expect(await rewritten({ mu })).toBe(
      `${path}: is damaged: its checksum does not match its contents; make it again, or copy it again`,
    );
    await savePlan(path, small);
    const file = await readSafetensors(path);
    const tensors = await Promise.all(
      [...file.tensors].map(async ([name, { dtype, shape }]) => [name, { dtype, shape, data: await file.read(name) }]),
    );
    const { sha256: _, ...metadata } = Object.fromEntries(file.metadata);
    await writeSafetensors(path, new Map(tensors as [string, TensorData][]), metadata);
    expect(await loadPlan(path)).toEqual(small);
  });

  test('any byte changed: the same plan, or an error', async () => {
    await savePlan(path, small);
    const whole = await readFile(path);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, mask) => {
        const bytes = Buffer.from(whole);
        bytes[at] ^= mask;
        await writeFile(path, bytes);
        const outcome = await loadPlan(path).catch((error: unknown) => error);
        if (outcome instanceof Error) expect(outcome).toBeInstanceOf(UserError);
        else expect(outcome).toEqual(small);
      }),
      { numRuns: 300 },
    );
  });

  test('cut at any length or with any byte changed, it loads completely or not at all', async () => {
    await savePlan(path, small);
    const whole = await readFile(path);
    for (let length = whole.length - 1; length >= 0; length--) {
      await truncate(path, length);
      await refusal(loadPlan(path));
    }
    const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async changes => {
        const bytes = Buffer.from(whole);
        for (const { at, to } of changes) bytes[at] = to;
        await writeFile(path, bytes);
        const outcome = await loadPlan(path, { sourceSize: 5, targetSize: 3 }).catch((error: unknown) => error);
        if (outcome instanceof Error) {
          expect(outcome).toBeInstanceOf(UserError);
          expect(outcome.message).not.toMatch(/[\n\r]/);
        } else expect(expand(outcome as Plan)).toHaveLength((outcome as Plan).mu.length * (outcome as Plan).nu.length);
      }),
      { numRuns: 300 },
    );
  });
});
