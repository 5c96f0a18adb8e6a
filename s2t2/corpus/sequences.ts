/**
 * From texts to token sequences: the same byte spans for every tokenizer, and what a vocabulary does not know counted.
 */
import { show, UserError } from '../../models/errors.ts';
import { Packer, type PackedSequences, type Sequence } from '../../models/sequences.ts';
import { Ids, pauser, UnknownByte, type Tokenizer } from '../../models/tokenizer/index.ts';
import { utf8Length } from '../../models/utf8.ts';

/**
 * Texts in pieces of at most `maxBytes` bytes, cut between characters: the same spans for every tokenizer. Empty texts
 * are left out; a character longer than `maxBytes` is a separate piece.
 */
export function cutAll(texts: readonly string[], maxBytes: number): string[] {
  const pieces: string[] = [];
  for (const text of texts) {
    const bytes = utf8Length(text);
    if (bytes <= maxBytes) {
      if (bytes > 0) pieces.push(text);
    } else if (bytes === text.length) {
      for (let from = 0; from < text.length; from += maxBytes) pieces.push(text.slice(from, from + maxBytes));
    } else cutBetween(text, maxBytes, pieces);
  }
  return pieces;
}

function cutBetween(text: string, maxBytes: number, pieces: string[]): void {
  let [from, bytes] = [0, 0];
  for (let at = 0; at < text.length; ) {
    const codePoint = text.codePointAt(at)!;
    const size = codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
    if (bytes > 0 && bytes + size > maxBytes) {
      pieces.push(text.slice(from, at));
      [from, bytes] = [at, 0];
    }
    bytes += size;
    at += size === 4 ? 2 : 1;
  }
  pieces.push(text.slice(from));
}

/** What a vocabulary lacks, and what the unknown token stands for in given texts. */
export interface Unknown {
  readonly tokens: number;
  readonly texts: number;
  /** The first of them, cut where it is long. */
  readonly first: string;
}

/** Texts as sequences of tokens, and what the vocabulary did not know. */
export interface Encoded {
  readonly sequences: PackedSequences;
  /** Null where every byte is known. */
  readonly unknown: Unknown | null;
}

/**
 * Each text from its begin to its end token.
 *
 * @throws UserError for a text with more tokens than `context`, with bytes that the vocabulary lacks while it has no
 *   unknown token, or with bytes that the tokenizer drops: its bits per byte would mean nothing.
 */
export const toSequences = (texts: readonly string[], tokenizer: Tokenizer, context: number): Sequence[] => [
  ...new Encoder(tokenizer, context).encode(texts).sequences,
];

/**
 * As `toSequences`, with a turn for the host every so often and what was unknown. An aborted signal ends it with its
 * reason.
 */
export async function encodeTexts(
  texts: readonly string[],
  tokenizer: Tokenizer,
  context: number,
  signal?: AbortSignal,
): Promise<Encoded> {
  const pause = pauser(signal);
  const encoder = new Encoder(tokenizer, context);
  for (const text of texts) {
    encoder.add(text);
    if (pause.isDue()) await pause.now();
  }
  return encoder.finish();
}

/** Encodes texts as `toSequences` does, batch after batch in the same memory. */
export class Encoder {
  private readonly packer: Packer;
  private readonly tokenizer: Tokenizer;
  private readonly context: number;
  private readonly bos: number;
  private readonly eos: number;
  private readonly drops: boolean;
  private unknowns = { tokens: 0, texts: 0, first: '' };
  private readonly tokens = new Ids();

  constructor(tokenizer: Tokenizer, context: number) {
    const { bos, eos } = tokenizer.specialTokens;
    if (bos === undefined || eos === undefined)
      throw new UserError('the tokenizer has neither a begin nor an end token; add one to its tokenizer.json');
    [this.tokenizer, this.context, this.bos, this.eos] = [tokenizer, context, bos, eos];
    this.packer = new Packer(tokenizer.vocabSize);
    this.drops = tokenizer.parts.splits.some(split => split.drops !== undefined);
  }

  /** A batch of texts. After an error nothing can be encoded any more. */
  encode(texts: readonly string[]): Encoded {
    for (const text of texts) this.add(text);
    return this.finish();
  }

  /** All that was added since the last call. */
  finish(): Encoded {
    const { unknowns } = this;
    this.unknowns = { tokens: 0, texts: 0, first: '' };
    return { sequences: this.packer.finish(), unknown: unknowns.tokens > 0 ? unknowns : null };
  }

  add(text: string): void {
    const { tokens, tokenizer } = this;
    const bytes = utf8Length(text);
    const name = () => `the text ${show(brief(text))} of ${bytes} bytes`;
    tokens.length = 0;
    appendNamed(text, tokenizer, tokens, name);
    if (tokens.length + 1 > this.context)
      throw new UserError(
        `${name()} has ${tokens.length} tokens, more than the model's context of ${this.context}; lower --max-bytes`,
      );
    if (this.drops) {
      let left = 0;
      for (let i = 0; i < tokens.length; i++) left += tokenizer.tokenBytes(tokens.values[i]).length;
      if (left < bytes)
        throw new UserError(`${name()} has ${bytes - left} bytes that the tokenizer drops; leave the text out`);
    }
    this.count(text);
    this.packer.add(this.bos, tokens.values, tokens.length, this.eos, bytes);
  }

  private count(text: string): void {
    const { unk } = this.tokenizer.specialTokens;
    if (unk === undefined) return;
    let count = 0;
    for (let i = 0; i < this.tokens.length; i++) if (this.tokens.values[i] === unk) count++;
    if (count === 0) return;
    if (this.unknowns.texts++ === 0) this.unknowns.first = brief(text);
    this.unknowns.tokens += count;
  }
}

const brief = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

/** A vocabulary trained on other texts may lack a byte of this one: the error says in which text. */
function appendNamed(text: string, tokenizer: Tokenizer, ids: Ids, name: () => string): void {
  try {
    tokenizer.append(text, ids);
  } catch (error) {
    if (error instanceof UnknownByte)
      throw new UserError(
        `${name()} has ${error.shown}, which the vocabulary lacks; leave the text out, or train on texts like it`,
      );
    if (error instanceof UserError) throw new UserError(`${name()}: ${error.message}`);
    throw error;
  }
}

/**
 * Texts to train a tokenizer on, of at most so many bytes: every second, fourth, eighth … text of what is added, the
 * first of these that fits. Memory holds no more, however much is added.
 */
export class TextSample {
  /** One in so many texts is kept. */
  stride = 1;
  /** Bytes added. */
  total = 0;
  private readonly limit: number;
  /** A text of a few bytes takes some fifty of memory: a few letters to a record, millions of records. */
  private readonly mostTexts: number;
  private kept: string[] = [];
  private bytes = 0;
  private added = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.mostTexts = limit === Infinity ? Infinity : 2 ** 22;
  }

  add(text: string): void {
    const most = Math.max(1, Math.floor(this.limit / 64));
    const size = utf8Length(text);
    if (size <= most) this.addPiece(text, size);
    // A text so long that few fit counts as several.
    else for (const piece of cutAll([text], most)) this.addPiece(piece, utf8Length(piece));
  }

  private addPiece(text: string, size: number): void {
    this.total += size;
    if (this.added++ % this.stride !== 0) return;
    this.kept.push(text);
    this.bytes += size;
    while ((this.bytes > this.limit || this.kept.length > this.mostTexts) && this.kept.length > 1) {
      this.stride *= 2;
      this.kept = this.kept.filter((_, i) => i % 2 === 0);
      this.bytes = this.kept.reduce((n, t) => n + utf8Length(t), 0);
    }
  }

  get texts(): readonly string[] {
    return this.kept;
  }

  /** Bytes of memory that the texts take, about. */
  get memory(): number {
    return this.bytes + 50 * this.kept.length;
  }

  /** What was taken, for people; undefined for all. */
  describe(): string | undefined {
    if (this.stride === 1) return undefined;
    const megabytes = (n: number) => (n / 1e6).toFixed(1);
    return (
      `the tokenizer is trained on ${megabytes(this.bytes)} of ${megabytes(this.total)} MB, one text in ` +
      `${this.stride}; --tokenizer-sample all takes everything`
    );
  }
}
