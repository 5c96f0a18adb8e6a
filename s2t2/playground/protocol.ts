/**
 * What the page and its worker say to each other. The worker, the lab, holds tensors, models and texts; the page holds
 * what is shown. All values can be posted, and every call is answered once.
 */
import type { Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { CorpusFormat } from '../corpus/format.ts';
import type { Explanation } from '../explain.ts';
import type { PlanReport } from '../plan.ts';
import type { Settings } from '../settings.ts';
import type { Variant } from '../sinkhorn.ts';
import type { PictureView } from '../view/picture.ts';

/** The backends a page can choose. */
export const backendNames = ['wasm', 'webgpu', 'webgl2'] as const;
/** All of `Variant`; the list in sinkhorn.ts would bring the engine into the page. */
export const variantNames = ['dual', 'dykstra', 'alternating'] as const satisfies readonly Variant[];

/** The name of a backend. */
export type BackendName = (typeof backendNames)[number];
/** Those on the graphics card. */
export const gpuNames = ['webgpu', 'webgl2'] as const satisfies readonly BackendName[];
/** The name of a backend on the graphics card. */
export type GpuName = (typeof gpuNames)[number];

/** The backend that a visitor asks for. */
export interface BackendChoice {
  readonly name: BackendName;
  /** Wasm: plain SIMD, whose results are the same bits on every machine. */
  readonly plain: boolean;
  /** Wasm: at most this many threads; 0 is as many as there are processors. */
  readonly threads: number;
}

/** The backend that runs, and what it says of itself. */
export interface BackendReport {
  readonly choice: BackendChoice;
  /** One line for people, from the backend itself. */
  readonly description: string;
  /** The largest difference to the reference in the check that it passed, in units of the bound. */
  readonly error: number;
}

/** The toy: a cost of noise and of what the text of the tokens says, 12×20. */
export interface ToySettings {
  readonly variant: Variant;
  /** α̂ v: at 1, logits of a row are its costs. */
  readonly alpha: number;
  readonly marginals: 'uniform' | 'zipf';
  /** How much of the cost is the prior, 0 to 1. */
  readonly prior: number;
  readonly seed: number;
}

/** The toy plan after a number of rounds. */
export interface ToyRound {
  /** P (u, v), row-major. */
  readonly plan: Float32Array;
  readonly support: number;
  /** Mean over rows, in bits. */
  readonly entropy: number;
  readonly misplaced: number;
}

/** The toy plan, sparse and entropic, round by round. */
export interface Toy {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** After 1, 2, … iterations. */
  readonly sparse: readonly ToyRound[];
  readonly entropic: readonly ToyRound[];
}

/** What the page shows of the source model. */
export interface ModelSummary {
  readonly name: string;
  readonly family: string;
  readonly parameters: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
}

/** A file in memory. */
export interface DroppedFile {
  readonly name: string;
  readonly file: Blob;
}

/** Where texts come from. */
export type DomainSource =
  | { readonly kind: 'sample'; readonly name: string }
  | { readonly kind: 'file'; readonly file: DroppedFile }
  | { readonly kind: 'text'; readonly text: string };

/** What the page shows of the visitor's texts. */
export interface DomainSummary {
  readonly name: string;
  readonly format: CorpusFormat;
  /** Of the texts that are used. */
  readonly train: { readonly texts: number; readonly bytes: number };
  readonly heldOut: { readonly texts: number; readonly bytes: number };
  /** What was left out and why, a line each. */
  readonly notes: readonly string[];
  /** The beginning of a held-out text. */
  readonly passage: string;
}

/** A token of a text as it is shown. */
export interface ShownToken {
  readonly id: number;
  readonly text: string;
  /** Bytes in hexadecimal. */
  readonly bytes: string;
  /** Where it lies in the text's bytes. */
  readonly start: number;
  readonly end: number;
  /** −log₂ p under a model, where one was asked. */
  readonly bits?: number;
}

/** A text as one tokenizer cuts it. */
export interface Cut {
  readonly bytes: number;
  readonly source: readonly ShownToken[];
  readonly target: readonly ShownToken[];
}

/** What the page shows of the target tokenizer. */
export interface TokenizerSummary {
  /** Tokens at the least: special tokens and bytes. */
  readonly least: number;
  /** Tokens at the most that the text has pairs for. */
  readonly most: number;
  /** The merges in order, as shown: left and right. */
  readonly merges: readonly (readonly [string, string])[];
  /** Held-out tokens per byte by vocabulary size, and of the source tokenizer. */
  readonly compression: readonly { readonly size: number; readonly tokensPerByte: number }[];
  readonly sourceTokensPerByte: number;
}

/** The run that a visitor asks for. */
export interface RunRequest {
  readonly settings: Settings;
  readonly methods: readonly string[];
  /** How often each row is scored on held-out text in the course of finetuning. */
  readonly validations: number;
  /** Resumes what the browser's storage holds of this very run. */
  readonly resume: boolean;
}

/** When held-out text is scored: `during` is in the course of finetuning. */
export type When = 'before' | 'during' | 'after';

/** What a run is doing. */
export type RunEvent =
  | { readonly type: 'floors'; readonly rows: readonly Row[] }
  | {
      readonly type: 'stage';
      readonly method: string;
      readonly stage: string;
      readonly step: number;
      readonly steps: number;
      readonly tokens: number;
      /** Of the stage, in training steps. */
      readonly seconds: number;
      readonly bitsPerByte: number;
    }
  | { readonly type: 'evaluating'; readonly method: string; readonly when: When; readonly share: number }
  | {
      readonly type: 'scored';
      readonly method: string;
      readonly when: When;
      readonly metrics: Metrics;
      readonly tokens: number;
      readonly seconds: number;
    }
  | { readonly type: 'plan'; readonly picture: PictureView; readonly report: PlanReport; readonly step: number }
  | { readonly type: 'row'; readonly row: Row }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'done'; readonly results: Results }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly message: string };

/** A text to continue, and how. */
export interface GenerateRequest {
  /** The row of the table whose model speaks. */
  readonly method: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** A text with the surprise of each of its tokens, in bits. */
export interface ScoredText {
  readonly method: string;
  readonly tokens: readonly ShownToken[];
  readonly bitsPerByte: number;
}

/** What a run will need. */
export interface RunForecast {
  /** Bytes at its peak. */
  readonly need: number;
  /** Bytes that the backend has, where it has a limit of its own. */
  readonly limit: number | null;
  /** Whether layers are computed again in the backward pass, to fit. */
  readonly recompute: boolean;
}

/** A run that a reload interrupted. */
export interface SavedRun {
  readonly settings: Settings;
  readonly methods: readonly string[];
  readonly domain: DomainSummary;
}

/** The calls that the lab answers. */
export interface Lab {
  /** Opens and checks a backend of the graphics card without using it; why it cannot be used is an error. */
  offer(name: GpuName): Promise<BackendReport>;
  useBackend(choice: BackendChoice): Promise<BackendReport>;
  /** The backend that runs. */
  runs(): Promise<BackendReport | null>;
  toy(settings: ToySettings): Promise<Toy>;
  /** The bundled model, or the files of a directory; a run of these settings must fit. */
  loadModel(
    files: readonly DroppedFile[] | null,
    settings: Settings,
    methods: readonly string[],
  ): Promise<ModelSummary>;
  loadDomain(source: DomainSource, limitBytes: number): Promise<DomainSummary>;
  trainTokenizer(): Promise<TokenizerSummary>;
  cut(text: string, size: number): Promise<Cut>;
  /** What a run will need; an error says what would make one fit that does not. */
  forecast(settings: Settings, methods: readonly string[]): Promise<RunForecast>;
  run(request: RunRequest): Promise<void>;
  pause(): Promise<void>;
  /** One training step, then pause. */
  step(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
  savedRun(): Promise<SavedRun | null>;
  forget(): Promise<void>;
  generate(request: GenerateRequest): Promise<ScoredText>;
  score(text: string, methods: readonly string[]): Promise<ScoredText[]>;
  explain(token: string): Promise<Explanation | null>;
  targetTokens(): Promise<string[]>;
  archive(): Promise<Blob>;
}

/** What the page posts. */
export interface Call {
  readonly id: number;
  readonly method: keyof Lab;
  readonly args: readonly unknown[];
}

/** What the lab posts: the answer to a call, or news of a run. */
export type Message =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string; readonly mistake: boolean }
  | { readonly event: RunEvent };
