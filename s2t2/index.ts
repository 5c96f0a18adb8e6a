/** S2T2: the sparse Sinkhorn layer, weight translation, adaptation and evaluation. */
export * from './adapt.ts';
export * from './corpus.ts';
export { readBlosum62, type SubstitutionMatrix } from './data/blosum.ts';
export { domains, loadDomain, type DomainData, type DomainName } from './data/domains.ts';
export * from './evaluate.ts';
export * from './experiment.ts';
export * from './explain.ts';
export * from './methods.ts';
export * from './plan.ts';
export * from './prepare.ts';
export type { ReportData } from './report/data.ts';
export { renderReport } from './report/page.ts';
export * from './settings.ts';
export * from './sinkhorn.ts';
export * from './stream.ts';
export * from './translate.ts';
