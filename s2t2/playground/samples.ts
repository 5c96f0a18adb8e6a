/** The bundled samples, by the names of their files in `s2t2/data`. */
export interface Sample {
  readonly name: string;
  readonly title: string;
  readonly format: 'fasta' | 'jsonl';
}

/** The bundled domains. */
export const samples: readonly Sample[] = [
  { name: 'proteins', title: 'Proteins', format: 'fasta' },
  { name: 'dna', title: 'DNA', format: 'fasta' },
  { name: 'rna', title: 'Ribosomal RNA', format: 'fasta' },
  { name: 'greek', title: 'Greek', format: 'jsonl' },
  { name: 'japanese', title: 'Japanese', format: 'jsonl' },
  { name: 'code', title: 'Source code', format: 'jsonl' },
];

/** The files of the bundled source model, in `s2t2/data/source`. */
export const modelFiles = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'] as const;
