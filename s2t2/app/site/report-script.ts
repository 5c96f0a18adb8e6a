/** The last step of `npm run build`: bundles the script that every report holds. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, root } from './bundle.ts';

const { code } = await bundle('s2t2/view/live/report.ts', { minify: 'code', format: 'iife' });
await writeFile(join(root, 'dist/report.js'), code);
