/** A mutant is killed by the first counterexample; the smallest one is of no use. */
import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
