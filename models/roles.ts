/**
 * Which tokens begin, end and pad a text, and stand for what has no token. Files of a model directory say so in four
 * places, in this order:
 *
 *     tokenizer_config.json, special_tokens_map.json    by name: "bos_token": "<s>", or {"content": "<s>", …}
 *     generation_config.json, config.json               by id: "bos_token_id": 1; "eos_token_id" may be a list
 *
 * What none of them says the names of special tokens tell ("<s>", "<|endoftext|>"). An id in config.json counts only
 * where its token is not text: LLaMA's class writes 1 and 2 there, whatever the tokenizer.
 */
import { show, UserError } from './errors.ts';
import { specialToken } from './tokenizer/added.ts';
import { Tokenizer, type SpecialTokens } from './tokenizer/index.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A file that says something of roles, if it is there. */
export interface RoleFile {
  /** Its path in errors. */
  readonly path: string;
  readonly fields: Fields | undefined;
}

/** The files of a model directory that name the parts of special tokens, where they are there. */
export interface RoleFiles {
  /** By name, the first that says something. */
  readonly named: readonly RoleFile[];
  /** By id. */
  readonly numbered: readonly RoleFile[];
}

const roleNames = ['bos', 'eos', 'pad', 'unk'] as const;

/** A tokenizer whose tokens play the parts that the files give them. Begin and end tokens are special from here on. */
export function withRoles(tokenizer: Tokenizer, files: RoleFiles): Tokenizer {
  const roles: { -readonly [R in keyof SpecialTokens]: number } = {};
  for (const role of roleNames) {
    const id = byName(tokenizer, role, files.named) ?? byId(tokenizer, role, files.numbered)[0];
    if (id !== undefined) roles[role] = id;
    else if (tokenizer.specialTokens[role] !== undefined) roles[role] = tokenizer.specialTokens[role];
  }
  roles.bos ??= roles.eos;
  roles.eos ??= roles.bos;
  const { tokens, added } = tokenizer.parts;
  const plain = [...new Set([roles.bos, roles.eos])].filter(
    (id): id is number => id !== undefined && !tokenizer.isSpecial(id),
  );
  if (plain.length === 0 && roleNames.every(role => roles[role] === tokenizer.specialTokens[role])) return tokenizer;
  return new Tokenizer({
    ...tokenizer.parts,
    tokens: tokens.map((bytes, id) => (plain.includes(id) ? undefined : bytes)),
    added: [
      ...added.map(token => (plain.includes(token.id) ? { ...token, special: true } : token)),
      ...plain.filter(id => !added.some(token => token.id === id)).map(id => specialToken(tokenizer.token(id), id)),
    ],
    roles,
  });
}

/** Every token that ends a text: what `eos_token_id` lists in the first file that has it, and the tokenizer's own. */
export function endTokens(tokenizer: Tokenizer, numbered: readonly RoleFile[]): number[] {
  const { eos } = tokenizer.specialTokens;
  return [...new Set([...(eos === undefined ? [] : [eos]), ...byId(tokenizer, 'eos', numbered)])];
}

/**
 * The id of the token that the first file names. A name that is not a token is an error, except for padding and the
 * unknown, which play no part in what is computed: transformers would add a token there that the model has no row for.
 */
function byName(tokenizer: Tokenizer, role: keyof SpecialTokens, files: readonly RoleFile[]): number | undefined {
  for (const { path, fields } of files) {
    const value = fields?.[`${role}_token`];
    if (value === undefined || value === null) continue;
    const name = typeof value === 'object' ? (value as { content?: unknown }).content : value;
    const id = typeof name === 'string' ? idOf(tokenizer, name) : undefined;
    if (id === undefined && (role === 'bos' || role === 'eos'))
      throw new UserError(`${path}: ${role}_token is ${show(value)}, which is not a token of this tokenizer`);
    if (id !== undefined) return id;
  }
  return undefined;
}

function idOf(tokenizer: Tokenizer, name: string): number | undefined {
  const added = tokenizer.parts.added.find(token => token.content === name);
  if (added !== undefined) return added.id;
  const id = tokenizer.parts.tokens.findIndex((bytes, i) => bytes !== undefined && tokenizer.token(i) === name);
  return id < 0 ? undefined : id;
}

/** Ids in the first file that has some for a role. −1 and null stand for none. */
function byId(tokenizer: Tokenizer, role: keyof SpecialTokens, files: readonly RoleFile[]): number[] {
  for (const { path, fields } of files) {
    const value = fields?.[`${role}_token_id`];
    if (value === undefined || value === null || value === -1) continue;
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (!ids.every(id => Number.isSafeInteger(id) && (id as number) >= 0))
      throw new UserError(`${path}: ${role}_token_id is ${show(value)}; it must be an id, or a list of ids`);
    const marks = (ids as number[]).filter(id => isMark(tokenizer, id));
    if (marks.length > 0) return marks;
  }
  return [];
}

/** Whether a token marks structure: an added one, or one that is written like those. */
function isMark(tokenizer: Tokenizer, id: number): boolean {
  const { added, tokens } = tokenizer.parts;
  if (added.some(token => token.id === id)) return true;
  return tokens[id] !== undefined && /^(<[^<>]+>|\[[^[\]]+\])$/.test(tokenizer.token(id));
}

/**
 * A tokenizer for other libraries that puts the begin token before every text, as its model has seen them all; one that
 * has a post-processor keeps it. The end token came after every text in training, but a prompt that ends with it is
 * over before it is continued: it is added only where the template of the source's tokenizer adds one, for there
 * people expect it and take it off.
 */
export function withTemplate(tokenizer: Tokenizer, source: Tokenizer): Tokenizer {
  const { bos, eos } = tokenizer.specialTokens;
  if (bos === undefined || tokenizer.parts.postProcessor !== undefined) return tokenizer;
  const marks = { begin: bos, ...(eos !== undefined && marksTexts(source).end && { end: eos }) };
  const special = (id: number, type_id: number) => ({ SpecialToken: { id: tokenizer.token(id), type_id } });
  const sequence = (name: 'A' | 'B', type_id: number, begins: boolean) => [
    ...(begins ? [special(marks.begin, type_id)] : []),
    { Sequence: { id: name, type_id } },
    ...(marks.end === undefined ? [] : [special(marks.end, type_id)]),
  ];
  const named = Object.values(marks).map(id => ({ id: tokenizer.token(id), ids: [id], tokens: [tokenizer.token(id)] }));
  const postProcessor = {
    type: 'TemplateProcessing',
    single: sequence('A', 0, true),
    pair: [...sequence('A', 0, true), ...sequence('B', 1, false)],
    special_tokens: Object.fromEntries(named.map(token => [token.id, token])),
  };
  return new Tokenizer({ ...tokenizer.parts, postProcessor });
}

/** Added tokens of `source` that occur in chat templates and are no tokens of `target`. */
export function lostTokens(templates: readonly string[], source: Tokenizer, target: Tokenizer): string[] {
  const there = new Set(target.parts.added.map(({ content }) => content));
  return source.parts.added
    .map(({ content }) => content)
    .filter(name => name.trim() !== '' && !there.has(name) && templates.some(text => text.includes(name)));
}

/** Whether the post-processor of a `tokenizer.json` adds the begin token before a text and the end token after it. */
export function marksTexts(tokenizer: Tokenizer): { readonly begin: boolean; readonly end: boolean } {
  const { bos, eos } = tokenizer.specialTokens;
  // Kept as it was read, and read by nothing else: any of it may be missing.
  const steps = (step: PostProcessor | null | undefined): readonly (PostProcessor | null | undefined)[] =>
    step?.type === 'Sequence' && Array.isArray(step.processors) ? step.processors.flatMap(steps) : [step];
  const all = steps(tokenizer.parts.postProcessor as PostProcessor | undefined);
  const has = (id: number | undefined, at: 0 | -1, whole: 'cls' | 'sep') =>
    id !== undefined &&
    all.some(step => {
      const single = Array.isArray(step?.single) ? step.single.at(at)?.SpecialToken?.id : undefined;
      const named = Array.isArray(step?.[whole]) ? step[whole][0] : undefined;
      return (single ?? named) === tokenizer.token(id);
    });
  return { begin: has(bos, 0, 'cls'), end: has(eos, -1, 'sep') };
}

/** What is looked at of a post-processor: a template, BERT's or RoBERTa's (`cls`, `sep`), or several in turn. */
interface PostProcessor {
  readonly type?: unknown;
  readonly processors?: readonly (PostProcessor | null)[];
  readonly single?: readonly ({ readonly SpecialToken?: { readonly id?: unknown } } | null)[];
  readonly cls?: readonly unknown[];
  readonly sep?: readonly unknown[];
}
