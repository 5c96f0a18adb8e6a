/** The tokens of the first exhibit: pieces of proteins, written in letters. */
export const toyRows: readonly string[] = ['A', 'L', 'G', 'AL', 'LL', 'EK', 'GS', 'VV', 'TTP', 'DE', 'RR', 'IKN'];
/** The columns of the toy plan: the twenty amino acids. */
export const toyColumns: readonly string[] = [...'ACDEFGHIKLMNPQRSTVWY'];
/** Iterations that are computed. */
export const toyIterations = 20;
