/** Byte-pair encoding: training, encoding, and Hugging Face's `tokenizer.json`. */
export type { AddedToken } from './added.ts';
export { UnknownByte, type CharacterUnits } from './alphabet.ts';
export { Ids } from './ids.ts';
export { compilePattern, gpt2Pattern, type Split } from './pattern.ts';
export { parseTokenizerJson } from './json-read.ts';
export { tokenizerToJson } from './json-write.ts';
export { Tokenizer, type Merge, type SpecialTokens, type TokenizerParts } from './tokenizer.ts';
export { defaultSpecialTokens, pauser, trainBPE, trainBPEAsync, unknownToken, type TrainOptions } from './train.ts';
export { extendBPE, isExtension, type ExtendOptions } from './extend.ts';
