/**
 * Language models on the engine: tokenizer, transformer, optimisers, training, checkpoints, generation. It knows
 * nothing of S2T2 and runs in any JavaScript environment; what needs Node is in `node/`.
 */
export * from './adamw.ts';
export * from './batches.ts';
export * from './checkpoint.ts';
export * from './config.ts';
export { UserError } from './errors.ts';
export { families, familyNames, type Activation, type Family, type FamilyName } from './families.ts';
export * from './generate.ts';
export * from './init.ts';
export * from './muon.ts';
export * from './ngram.ts';
export * from './safetensors/source.ts';
export * from './safetensors/write.ts';
export * from './score.ts';
export * from './sequences.ts';
export * from './tokenizer/index.ts';
export * from './train.ts';
export * from './transformer-config.ts';
export * from './transformer.ts';
export * from './weights.ts';
