/** Runs before every test file. */
import fc from 'fast-check';
import { seed } from './seed.ts';

fc.configureGlobal({ seed });
