/** GGUF, llama.cpp's file format. */
export { exportedModel, type ExportedModel } from './export.ts';
export { ggufFiles, type ByteRange } from './files.ts';
export { damagedGguf, MAX_GGUF_HEADER_BYTES, parseGguf, type GgufHeader, type GgufTensor } from './header.ts';
export { decodeBlocks, ggmlType, ggmlTypeNames, type GgmlType } from './types.ts';
export { encodeGguf, writtenBytes, type WrittenTensor } from './write.ts';
