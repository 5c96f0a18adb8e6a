/** Byte-level BPE: training, encoding, and Hugging Face's `tokenizer.json`. */
export { parseTokenizerJson, tokenizerToJson } from './json.ts';
export { gpt2Pattern, Tokenizer, type SpecialTokens } from './tokenizer.ts';
export { defaultSpecialTokens, trainBPE, type TrainOptions } from './train.ts';
