/**
 * S2T2: the sparse Sinkhorn layer, the translation of a model's ends, the methods that start from it and their
 * evaluation. It runs in any JavaScript; runs on disk and the command line are in `app/`.
 */
export * from './corpus/index.ts';
export * from './evaluate.ts';
export * from './explain.ts';
export * from './method.ts';
export * from './methods.ts';
export { priorCoupling, type Coupling } from './prior.ts';
export * from './plan.ts';
export * from './plan-format.ts';
export * from './settings.ts';
export * from './sinkhorn.ts';
export * from './translate.ts';
