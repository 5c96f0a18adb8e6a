/**
 * The model card of an adapted model: `README.md` with Hugging Face's metadata at its head, as its hub reads it. It
 * says
 * what the model was made from, on what and how, with the figures measured so far and the command.
 */
import type { Row } from '../cell.ts';
import type { Settings } from '../settings.ts';

/** What a model card says. */
export interface Card {
  /** The source model: where it was read from, and the text of its own card, if it has one. */
  readonly source: { readonly path: string; readonly card: string | undefined; readonly name: unknown };
  readonly family: string;
  readonly method: string;
  /** Of the target vocabulary, and of the source's. */
  readonly tokens: { readonly target: number; readonly source: number };
  readonly texts: { readonly train: number; readonly test: number };
  readonly data: string | undefined;
  readonly settings: Settings;
  /** Floors and the methods that are done. */
  readonly rows: readonly Row[];
  readonly command: string | undefined;
}

/** A repository of the hub: `owner/name`. */
const repository = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** A field of the metadata at the head of a card, if it is one word. */
const metadataOf = (card: string | undefined, field: string): string | undefined =>
  new RegExp(`^---\\n(?:.*\\n)*?${field}: *["']?([\\w./-]+)["']? *\\n(?:.*\\n)*?---`).exec(card ?? '')?.[1];

/** The last part of a path: where on a machine a file lay is nobody's concern. */
const nameOf = (path: string): string => path.replace(/[/\\]+$/, '').replace(/.*[/\\]/, '');

/** The text of `README.md`. */
export function modelCard({ source, family, method, tokens, texts, data, settings, rows, command }: Card): string {
  const base = typeof source.name === 'string' && repository.test(source.name) ? source.name : undefined;
  const license = metadataOf(source.card, 'license');
  const head = [
    'library_name: transformers',
    'pipeline_tag: text-generation',
    ...(base === undefined ? [] : [`base_model: ${base}`]),
    ...(license === undefined ? [] : [`license: ${license}`]),
    'tags:',
    ...['s2t2', 'token-translation', family].map(tag => `- ${tag}`),
  ];
  const shown = rows.map(({ name, before, after, tokensPerByte }) => [
    name,
    before?.bitsPerByte.toFixed(4) ?? '',
    `${after.bitsPerByte.toFixed(4)} ± ${after.standardError.toFixed(4)}`,
    after.perplexity.toPrecision(4),
    tokensPerByte.toFixed(3),
  ]);
  const { amount, unit } = settings.budget;
  return `---
${head.join('\n')}
---

# ${base ?? nameOf(source.path)}, adapted by s2t2

A causal language model with a vocabulary of ${tokens.target} tokens in place of the source model's ${tokens.source}, by
Sparse Sinkhorn Token Translation ([arXiv 2411.00593](https://arxiv.org/abs/2411.00593)).

| | |
| --- | --- |
| source model | ${base ?? `\`${nameOf(source.path)}\``} (${family})${license === undefined ? '; its licence is not stated there' : ''} |
| data | ${data === undefined ? '' : `\`${nameOf(data)}\`, `}${texts.train} texts to train on, ${texts.test} held out |
| method | ${method} |
| budget | ${amount.toLocaleString('en')} ${unit} of training, seed ${settings.seed} |
${command === undefined ? '' : `| command | \`${command}\` |\n`}
Held-out texts, in bits per byte (lower is better); rows above the methods see frequencies only:

| | before finetuning | after | perplexity a token | tokens a byte |
| --- | --- | --- | --- | --- |
${shown.map(row => `| ${row.join(' | ')} |`).join('\n')}

Every text began with the begin token in training, and the tokenizer puts it there. The end token came after every text;
the tokenizer does not add it, so that a prompt can be continued.

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
ids = tokenizer("", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(ids, do_sample=True, max_new_tokens=100)[0], skip_special_tokens=True))
\`\`\`
`;
}
