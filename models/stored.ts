/**
 * The edge to Hugging Face's checkpoints: which tensors they hold for a configuration, and how a tensor there becomes
 * weights here. Most are one weight as it is; GPT-2's matrices are transposed, and GPT-2 and GPT-NeoX keep queries,
 * keys and values in one tensor, one after another or head by head. The names are in the table of families.
 */
import { families, type ModuleName } from './families.ts';
import { headWidth, type TransformerConfig } from './transformer-config.ts';
import { parameterShapes } from './weights.ts';

/** A tensor of a checkpoint. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** The weights that it holds, by their names in `parameters`: one, or queries, keys and values. */
  readonly parts: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Whether it is stored (in, out), and not (out, in). */
  readonly transposed: boolean;
  /** Rows that follow each other before the next part has its turn; undefined where each part follows in one piece. */
  readonly turn?: number;
}

/** The tensors of a checkpoint, in the order of `parameters`. */
export function storedTensors(c: TransformerConfig): StoredTensor[] {
  const { names, transposed = false, interleaved = false } = families[c.family];
  const parts = new Map<string, { name: string; module: string; shape: number[] }[]>();
  for (const [name, shape] of Object.entries(parameterShapes(c))) {
    const [, layer, module, field = 'weight'] = /^(layers\.\d+\.)?(.*?)(?:\.(weight|bias))?$/.exec(name)!;
    const prefix = layer === undefined ? '' : `${names.layers}${layer.slice('layers'.length)}`;
    const stored = `${prefix}${names[module as ModuleName]}.${field}`;
    parts.set(stored, [...(parts.get(stored) ?? []), { name, module, shape }]);
  }
  return Array.from(parts, ([name, members]) => {
    const [{ module, shape }] = members;
    const rows = members.reduce((n, { shape: [length] }) => n + length, 0);
    const isTransposed = transposed && shape.length === 2 && /^(attention|feedForward)\./.test(module);
    return {
      name,
      shape: isTransposed ? [shape[1], rows] : [rows, ...shape.slice(1)],
      parts: members,
      transposed: isTransposed,
      ...(interleaved && members.length > 1 && { turn: headWidth(c) }),
    };
  });
}

/** The name of the embedding in a checkpoint. */
export const storedEmbedding = ({ family }: TransformerConfig): string => `${families[family].names.embedding}.weight`;

/** The names of the ends in the checkpoints of the families, each pair once. */
export const storedEnds: readonly { readonly embedding: string; readonly head: string }[] = Array.from(
  new Map(
    Object.values(families).map(({ names: { embedding, head } }) => [
      embedding,
      { embedding: `${embedding}.weight`, head: `${head}.weight` },
    ]),
  ).values(),
);

/** What the names of a checkpoint of the bare transformer (GPT-2's own) lack beside those of a model with a head. */
export const storedPrefixes: readonly string[] = Array.from(
  new Set(Object.values(families).map(({ names: { layers } }) => layers.slice(0, layers.indexOf('.') + 1))),
);

type Floats = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** The values of the parts, row by row, from those of the stored tensor. */
export function unpack<T extends Floats>(stored: StoredTensor, values: T): T[] {
  if (stored.parts.length === 1 && !stored.transposed) return [values];
  const parts = stored.parts.map(({ shape }) => values.slice(0, sizeOf(shape)) as T);
  rowsOf(stored, (part, from, length, at, step) => {
    for (let i = 0; i < length; i++) parts[part][from + i] = values[at + i * step];
  });
  return parts;
}

/** The values of the stored tensor from those of its parts: the inverse of `unpack`. */
export function pack<T extends Floats>(stored: StoredTensor, parts: readonly T[]): T {
  if (stored.parts.length === 1 && !stored.transposed) return parts[0];
  const values = new (parts[0].constructor as new (length: number) => T)(sizeOf(stored.shape));
  rowsOf(stored, (part, from, length, at, step) => {
    for (let i = 0; i < length; i++) values[at + i * step] = parts[part][from + i];
  });
  return values;
}

/** Calls `visit` for every row of every part: where it begins in the part; where, and in which steps, it is stored. */
function rowsOf(
  { parts, transposed, turn, shape }: StoredTensor,
  visit: (part: number, from: number, length: number, at: number, step: number) => void,
): void {
  const total = transposed ? shape[1] : shape[0];
  let offset = 0;
  parts.forEach(({ shape: [rows, length = 1] }, part) => {
    for (let row = 0; row < rows; row++) {
      const there =
        turn === undefined ? offset + row : (Math.floor(row / turn) * parts.length + part) * turn + (row % turn);
      visit(part, row * length, length, transposed ? there : there * length, transposed ? total : 1);
    }
    offset += rows;
  });
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
