/** llama.cpp through node-llama-cpp, from a folder in which that is installed; its processor backend only. */
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What to evaluate: tokens, and for each whether the next one is asked for. */
type Evaluated = readonly (readonly [number, object])[];

/** A text that grows token by token. */
export interface LlamaSequence {
  /** The tokens that follow, one by one. */
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
  controlledEvaluate(
    input: Evaluated,
  ): Promise<readonly { readonly next: { token?: number; probabilities?: ReadonlyMap<number, number> } }[]>;
  clearHistory(): Promise<void>;
}

/** The few functions of a model that are used. */
export interface LlamaModel {
  tokenize(text: string, special: boolean): readonly number[];
  readonly tokens: { readonly bos: number | null };
  createContext(options: object): Promise<{ getSequence(): LlamaSequence }>;
}

interface NodeLlama {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}

/** Loads a GGUF file. */
export async function openLlama(folder: string, modelPath: string, threads: number): Promise<LlamaModel> {
  const entry = join(resolve(folder), 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  const { getLlama } = (await import(pathToFileURL(entry).href)) as NodeLlama;
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads });
  return llama.loadModel({ modelPath });
}

/** The likeliest next token at every position of `ids`, and probabilities of those that llama.cpp gives. */
export async function likeliest(sequence: LlamaSequence, ids: readonly number[]) {
  const next = { generateNext: { token: true, probabilities: true, options: { temperature: 0 } } };
  await sequence.clearHistory();
  const outputs = await sequence.controlledEvaluate(ids.map(id => [id, next]));
  return outputs.map(({ next: { token, probabilities } }) => ({ token: token!, probabilities: probabilities! }));
}
