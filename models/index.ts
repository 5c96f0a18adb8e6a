/** Language models on the engine: tokenizer, transformer, optimiser, training, checkpoints, generation. Knows nothing of S2T2. */
export * from './adamw.ts';
export * from './batches.ts';
export * from './node/checkpoint.ts';
export * from './node/files.ts';
export * from './generate.ts';
export * from './muon.ts';
export * from './ngram.ts';
export * from './node/safetensors.ts';
export * from './score.ts';
export * from './tokenizer/index.ts';
export * from './train.ts';
export * from './transformer.ts';
