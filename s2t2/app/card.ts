/**
 * The model card of a model with another vocabulary: `README.md` with Hugging Face's metadata at its head, as its hub
 * reads it. It says what the model was made from, by what and how, with the figures measured so far and the command.
 */
import { requiredFields } from '../../models/checkpoint.ts';
import { openModel } from '../../models/node/checkpoint.ts';
import { marksTexts } from '../../models/roles.ts';
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { selectedBy, type Row } from '../cell.ts';
import type { Plan } from '../plan.ts';
import { standardInput } from './corpus.ts';
import { cyclesOf, type Settings } from '../settings.ts';
import { isExtension } from '../translate.ts';

/** What every card says. */
export interface Card {
  readonly source: CardSource;
  readonly tokenizers: { readonly source: Tokenizer; readonly target: Tokenizer };
  /** Special tokens of the source's chat template that the target does not have. */
  readonly lost?: readonly string[];
  readonly command?: string;
}

/** The source model: where it was read from, the text of its own card, if it has one, and how it calls itself. */
export interface CardSource {
  readonly path: string;
  readonly card: string | undefined;
  readonly name: unknown;
  readonly family: string;
}

/** What the card of a finetuned model says. */
export interface AdaptedCard extends Card {
  readonly method: string;
  readonly texts: { readonly train: number; readonly test: number };
  readonly data: string | undefined;
  readonly settings: Settings;
  /** Floors and the methods that are done. */
  readonly rows: readonly Row[];
}

/** Reads what a card says of a source model. */
export async function describeSource(path: string): Promise<CardSource> {
  const files = await openModel(path);
  const { _name_or_path: name, model_type: family } = await requiredFields(files, 'config.json');
  return { path, name, family: String(family), card: await files.text('README.md') };
}

/** The card of a model that was finetuned. */
export function adaptedCard({ method, texts, data, settings, rows, ...card }: AdaptedCard): string {
  const [last, ...earlier] = cyclesOf(settings)
    .map(({ budget: { amount, unit } }) => `${amount.toLocaleString('en')} ${unit}`)
    .toReversed();
  const own = rows.find(row => row.name === method);
  const looks = own?.selection?.length;
  const shown = rows.map(({ name, before, after, tokensPerByte }) => [
    name,
    before?.bitsPerByte.toFixed(4) ?? '',
    `${after.bitsPerByte.toFixed(4)} ± ${after.standardError.toFixed(4)}`,
    after.perplexity.toPrecision(4),
    tokensPerByte.toFixed(3),
  ]);
  return modelCard(card, 'adapted', {
    data: [
      ...(data === undefined ? [] : [`\`${nameOf(data)}\``]),
      `${texts.train} texts to train on, ${texts.test} held out`,
    ].join(', '),
    method,
    budget:
      `${last} of training${earlier.length > 0 ? `, continued from ${earlier.toReversed().join(' and ')}` : ''}, ` +
      `seed ${settings.seed}`,
    ...(own &&
      looks && { chosen: `the best of ${looks} by validation texts, ${selectedBy(own).toFixed(4)} bits per byte` }),
    after: `Held-out texts, in bits per byte (lower is better); rows above the methods see frequencies only:

| | before finetuning | after | perplexity a token | tokens a byte |
| --- | --- | --- | --- | --- |
${shown.map(row => `| ${row.join(' | ')} |`).join('\n')}`,
  });
}

/** The card of a model that a plan has given another vocabulary, and nothing else. */
export function translatedCard(card: Card, plan: Plan, file: string): string {
  const { variant, iterations, alpha } = plan.settings;
  return modelCard(card, 'translated', {
    plan: `\`${nameOf(file)}\`: ${plan.mu.length} × ${plan.nu.length} tokens, ${plan.values.length} entries`,
    method: `${variant}, ${iterations} rounds, α̂ = ${alpha.toPrecision(3)}`,
    after: 'The plan was applied and nothing was trained: expect to finetune it.',
  });
}

/** A repository of the hub: `owner/name`. */
const repository = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** A field of the metadata at the head of a card, if it is one word. */
const metadataOf = (card: string | undefined, field: string): string | undefined =>
  new RegExp(`^---\\n(?:.*\\n)*?${field}: *["']?([\\w./-]+)["']? *\\n(?:.*\\n)*?---`).exec(card ?? '')?.[1];

/** The last part of a path: where on a machine a file lay is nobody's concern. */
const nameOf = (path: string): string =>
  path === standardInput ? 'standard input' : path.replace(/[/\\]+$/, '').replace(/.*[/\\]/, '');

/** The text of `README.md`: a table of `facts`, and what comes `after` it. */
function modelCard(
  { source, tokenizers, lost = [], command }: Card,
  done: string,
  { after, ...facts }: Readonly<Record<string, string>>,
): string {
  const base = typeof source.name === 'string' && repository.test(source.name) ? source.name : undefined;
  const license = metadataOf(source.card, 'license');
  const head = [
    'library_name: transformers',
    'pipeline_tag: text-generation',
    ...(base === undefined ? [] : [`base_model: ${base}`]),
    ...(license === undefined ? [] : [`license: ${license}`]),
    'tags:',
    ...['s2t2', 'token-translation', source.family].map(tag => `- ${tag}`),
  ];
  const table = {
    'source model':
      `${base ?? `\`${nameOf(source.path)}\``} (${source.family})` +
      (license === undefined ? '; its licence is not stated there' : ''),
    ...facts,
    ...(command === undefined ? {} : { command: `\`${command}\`` }),
  };
  const { source: from, target } = tokenizers;
  const vocabulary = isExtension(from, target)
    ? `the source model's vocabulary of ${from.vocabSize} tokens and ${target.vocabSize - from.vocabSize} more`
    : `a vocabulary of ${target.vocabSize} tokens in place of the source model's ${from.vocabSize}`;
  const { begin, end } = marksTexts(target);
  const added = [...(begin ? ['the begin token'] : []), ...(end ? ['the end token'] : [])];
  const marks =
    `The tokenizer adds ${added.length > 0 ? added.join(' and ') : 'neither'}` +
    (end ? ",\nas the source's does: a prompt to be continued is without it." : ', so that a prompt can be continued.');
  const names = lost.map(name => `\`${name}\``).join(', ');
  const chat =
    lost.length > 0
      ? `\nThe chat template is the source's, and this vocabulary reads as ordinary text: ${names}\n`
      : '';
  return `---
${head.join('\n')}
---

# ${base ?? nameOf(source.path)}, ${done} by s2t2

A causal language model with ${vocabulary}, by
Sparse Sinkhorn Token Translation ([arXiv 2411.00593](https://arxiv.org/abs/2411.00593)).

| | |
| --- | --- |
${Object.entries(table)
  .map(([name, text]) => `| ${name} | ${text} |`)
  .join('\n')}

${after}

Every text began with the begin token in training and ended with the end token. ${marks}
${chat}
\`\`\`python
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer("", add_special_tokens=False).input_ids]])
print(tokenizer.decode(model.generate(ids, do_sample=True, max_new_tokens=100)[0], skip_special_tokens=True))
\`\`\`
`;
}
