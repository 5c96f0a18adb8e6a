/** What of `models/` needs Node: files, model directories, training states on disk. */
export * from './checkpoint.ts';
export { writeDirectoryAtomic, writeFileAtomic } from './files.ts';
export * from './safetensors.ts';
export * from './state.ts';
