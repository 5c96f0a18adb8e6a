/**
 * The order of the test files: those that take longest first, so that two workers end together. The others follow by
 * size, or by how long they took here before, as vitest has them.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The files that take more than some seconds, the longest first. */
const longest = [
  'attacks/runs',
  's2t2/app/cli',
  'browser/engine',
  'engine/gpu/long',
  'attacks/formats',
  's2t2/playground/page',
  's2t2/families',
  's2t2/app/report-browser',
  's2t2/app/paper/paper',
  'engine/gpu/adaptation',
  'engine/gpu/table',
  's2t2/app/memory',
  'browser/page',
  'oracles/training/training',
  'engine/wasm/table',
  's2t2/sinkhorn',
  'models/tokenizer/golden',
  'engine/wasm/matmul',
  'engine/simplex',
  's2t2/app/data/domains',
];

const rank = ({ moduleId }: TestSpecification): number => {
  const at = longest.findIndex(name => moduleId.endsWith(`/test/${name}.test.ts`));
  return at < 0 ? longest.length : at;
};

/** Vitest's order with the longest files in front. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
