/** S2T2: the sparse Sinkhorn layer, weight translation, adaptation and evaluation. */
export * from './app/adapt.ts';
export * from './app/corpus.ts';
export { readBlosum62, type SubstitutionMatrix } from './app/data/blosum.ts';
export { domains, loadDomain, type DomainData, type DomainName } from './app/data/domains.ts';
export * from './evaluate.ts';
export * from './app/experiment.ts';
export * from './explain.ts';
export * from './methods.ts';
export * from './plan.ts';
export * from './app/prepare.ts';
export type { ReportData } from './app/report/data.ts';
export { renderReport } from './app/report/page.ts';
export * from './settings.ts';
export * from './sinkhorn.ts';
export * from './app/stream.ts';
export * from './translate.ts';
