/** The application as a library for Node: adapt a model on disk, read corpora, write reports. */
export * from './adapt.ts';
export * from './corpus.ts';
export { domains, loadDomain, type DomainData, type DomainName } from './data/domains.ts';
export * from './experiment.ts';
export * from './plan-file.ts';
export * from './prepare.ts';
export type { ReportData } from '../view/data.ts';
export { renderReport } from './report/page.ts';
export * from './translate/checkpoint.ts';
export { headWithFrequencies } from './translate/head.ts';
