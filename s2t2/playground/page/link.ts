/**
 * Settings as the fragment of the page's address: what a link carries. Only what differs from the defaults is written.
 */
import type { BackendName } from '../protocol.ts';
import { backendNames, variantNames } from '../protocol.ts';
import { samples } from '../samples.ts';
import type { Variant } from '../../sinkhorn.ts';
import { methodNames } from './rows.ts';

/** What a visitor can choose; a link carries it. */
export interface Choices {
  /** A bundled sample; null where the visitor brought a text, which no link carries. */
  readonly sample: string | null;
  readonly vocabulary: number;
  readonly tokens: number;
  /** Part of the tokens on which the plan is learned. */
  readonly planShare: number;
  readonly methods: readonly string[];
  /** Scores of each row in the course of finetuning. */
  readonly validations: number;
  readonly variant: Variant;
  readonly iterations: number;
  /** α̂ v. */
  readonly alpha: number;
  readonly seed: number;
  readonly backend: BackendName;
  readonly plain: boolean;
  readonly threads: number;
}

/** The choices of a first visit. */
export const defaultChoices: Choices = {
  sample: null,
  vocabulary: 512,
  tokens: 30_000,
  planShare: 0.1,
  methods: ['source', 'truncated', 'fvt', 's2t2'],
  validations: 3,
  variant: 'dual',
  iterations: 3,
  alpha: 1,
  seed: 0,
  backend: 'wasm',
  plain: false,
  threads: 0,
};

/** Choices as the fragment of a link; those that are the default are left out. */
export function formatLink(choices: Choices): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(choices)) {
    if (String(value) !== String(defaultChoices[name as keyof Choices]) && value !== null)
      parts.set(name, String(value));
  }
  return parts.toString();
}

/** Reads a fragment. What it does not say, or says wrongly, is the default: an old link opens the page. */
export function parseLink(fragment: string): Choices {
  const parts = new URLSearchParams(fragment.replace(/^#/, ''));
  const oneOf = <T>(name: keyof Choices, values: readonly T[]): T | undefined =>
    values.find(value => String(value) === parts.get(name));
  const number = (name: keyof Choices, least: number, most: number): number => {
    const text = parts.get(name);
    const value = Number(text);
    return text !== null && text !== '' && value >= least && value <= most ? value : (defaultChoices[name] as number);
  };
  const whole = (name: keyof Choices, least: number, most: number) => Math.round(number(name, least, most));
  const names = parts
    .get('methods')
    ?.split(',')
    .filter(name => methodNames.includes(name));
  return {
    sample:
      oneOf(
        'sample',
        samples.map(s => s.name),
      ) ?? null,
    vocabulary: whole('vocabulary', 16, 2048),
    tokens: whole('tokens', 500, 1_000_000),
    planShare: number('planShare', 0.01, 0.9),
    methods: names?.length ? names : defaultChoices.methods,
    validations: whole('validations', 0, 10),
    variant: oneOf('variant', variantNames) ?? defaultChoices.variant,
    iterations: whole('iterations', 1, 20),
    alpha: number('alpha', 0.001, 1000),
    seed: whole('seed', 0, 2 ** 31),
    backend: oneOf('backend', backendNames) ?? defaultChoices.backend,
    plain: parts.get('plain') === 'true',
    threads: whole('threads', 0, 64),
  };
}
