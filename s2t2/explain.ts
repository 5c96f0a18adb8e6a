/** What a plan says: for target tokens, the source tokens they are made of and the probability mass these cover. */
import { show, UserError } from '../models/errors.ts';
import { visible } from '../models/printable.ts';
import type { Tokenizer } from '../models/tokenizer/index.ts';
import { rowSums, unseenIds, unseenShares, type Plan } from './plan.ts';

/** What a target token is made of: its largest source tokens, and the mass they cover. */
export interface Explanation {
  readonly token: string;
  /** Source tokens by falling P(source | target). */
  readonly sources: readonly { readonly token: string; readonly probability: number }[];
  /** Mass that the listed source tokens cover. */
  readonly covered: number;
  /** Source tokens with any mass. */
  readonly support: number;
}

/**
 * The `top` source tokens of target tokens: of those named, or of the `count` whose top covers most.
 * @throws UserError where a named token is not in the plan.
 */
export function explainPlan(
  plan: Plan,
  source: Tokenizer,
  target: Tokenizer,
  { top = 5, count = 12, tokens }: { top?: number; count?: number; tokens?: readonly string[] } = {},
): Explanation[] {
  const totals = rowSums(plan);
  const rows = Array.from(plan.targetIds, (id, i): Explanation => {
    const entries = Array.from(
      { length: plan.pointers[i + 1] - plan.pointers[i] },
      (_, e) => plan.pointers[i] + e,
    ).sort((a, b) => plan.values[b] - plan.values[a]);
    const sources = entries
      .slice(0, top)
      .map(e => ({ token: source.token(plan.sourceIds[plan.columns[e]]), probability: plan.values[e] / totals[i] }));
    return {
      token: target.token(id),
      sources,
      covered: sources.reduce((sum, s) => sum + s.probability, 0),
      support: entries.length,
    };
  });
  if (tokens !== undefined) {
    const all = [...rows, ...unseenRows(plan, source, target, top)];
    const named = (token: string) => all.filter(r => r.token === token || visible(r.token) === token);
    const missing = tokens.find(token => named(token).length === 0);
    if (missing !== undefined)
      throw new UserError(`the plan has no target token ${show(missing)}; write it as the table of the plan shows it`);
    return [...new Set(tokens.flatMap(named))];
  }
  return rows.sort((a, b) => b.covered - a.covered).slice(0, count);
}

/** Tokens that the training text never shows: their rows are means, and no plan was learned for them. */
function unseenRows(plan: Plan, source: Tokenizer, target: Tokenizer, top: number): Explanation[] {
  const shares = unseenShares(plan);
  return unseenIds(plan).map(id => {
    const own = shares.filter(s => s.target === id);
    const sources = own.slice(0, top).map(s => ({ token: source.token(s.source), probability: s.share }));
    return { token: target.token(id), sources, covered: sources.length / own.length, support: own.length };
  });
}
