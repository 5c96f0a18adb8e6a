/** Corpora without files: documents from bytes, what format they have, and token sequences from texts. */
export type { Document } from './document.ts';
export { fastaLetters } from './fasta.ts';
export { corpusFormats, detectFormat, formatOfName, type CorpusFormat } from './format.ts';
export { checkUnpacked, isGzip, magicBytes } from './packed.ts';
export { CorpusReader, describeCorpus, type Chunks, type CorpusOptions, type CorpusSummary } from './read.ts';
export { cutAll, encodeTexts, TextSample, toSequences, type Encoded, type Unknown } from './sequences.ts';
