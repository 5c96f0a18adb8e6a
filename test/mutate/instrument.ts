/**
 * Which tests reach a mutant: every mutant's site is wrapped so that running it writes the mutant's number to the file
 * that the environment variable MUTANT_HITS names, in this process or in one that a test starts.
 */
import type { Mutant } from './mutants.ts';

/** Before the number of a test in the file of hits: those that follow are of that test. */
export const separator = '= ';

/** One line, so that lines keep their numbers; without imports, so that it runs wherever the file does. */
const hit =
  'const __hit = id => { const seen = globalThis.__mutantHits ??= new Set(); if (seen.has(id)) return; seen.add(id); ' +
  'const { env, getBuiltinModule } = globalThis.process ?? {}; if (env?.MUTANT_HITS) ' +
  'getBuiltinModule("fs").appendFileSync(env.MUTANT_HITS, id + "\\n"); };';

/**
 * The mutants that each test reaches; under '' those that are reached outside of tests, when the file is read for one.
 */
export function hitsOf(text: string): Map<string, Set<number>> {
  const hits = new Map<string, Set<number>>([['', new Set()]]);
  let test = '';
  for (const line of text.split('\n').filter(Boolean)) {
    if (line.startsWith(separator)) test = line.slice(separator.length);
    else hits.set(test, (hits.get(test) ?? new Set()).add(Number(line)));
  }
  return hits;
}

/** The source with its mutants' sites wrapped. Numbers are those of the whole sample. */
export function instrument(
  source: string,
  mutants: readonly { readonly number: number; readonly mutant: Mutant }[],
): string {
  // Outer opens before inner, inner closes before outer; of one extent a statement is outside an expression.
  const edits = mutants
    .flatMap(
      ({
        number,
        mutant: {
          site: { start, end, statement },
        },
      }) => [
        {
          at: start,
          order: [1, -end, statement ? 0 : 1],
          text: statement ? `{ __hit(${number}); ` : `(__hit(${number}), `,
        },
        { at: end, order: [0, -start, statement ? 1 : 0], text: statement ? ' }' : ')' },
      ],
    )
    .sort((a, b) => a.at - b.at || a.order[0] - b.order[0] || a.order[1] - b.order[1] || a.order[2] - b.order[2]);
  let [out, from] = [/^#!.*\n/.exec(source)?.[0] ?? '', 0];
  from = out.length;
  out += hit;
  for (const { at, text } of edits) {
    out += source.slice(from, at) + text;
    from = at;
  }
  return out + source.slice(from);
}
