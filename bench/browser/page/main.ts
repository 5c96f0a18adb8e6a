/**
 * The page: the live example, and the microbenchmarks on demand or, with ?measure, at once; ?filter=REGEXP chooses
 * operations.
 */
import { findBackends, type Candidate } from './backends.ts';
import { element } from './dom.ts';
import { startExample } from './example.ts';
import { measure, type Result } from './measure.ts';
import { renderResults } from './results.ts';

/** What the command that served the page is sent. */
export interface PageReport {
  readonly browser: string;
  readonly processors: number;
  readonly isolated: boolean;
  readonly backends: readonly { readonly name: string; readonly here: boolean; readonly description: string }[];
  readonly results: readonly Result[];
}

const candidates = await findBackends();
element('backends').append(
  ...candidates.map(({ name, backend, description }) => {
    const item = document.createElement('li');
    item.dataset.backend = name;
    item.className = backend ? '' : 'missing';
    item.textContent = description;
    return item;
  }),
);

const wasm = candidates.find(c => c.name === 'wasm')?.backend;
const example = wasm ? startExample(wasm) : null;
const button = element<HTMLButtonElement>('measure');
const progress = element('progress');
const wishes = new URLSearchParams(location.search);

async function run(all: readonly Candidate[]): Promise<void> {
  button.disabled = true;
  example?.hold(true);
  const results: Result[] = [];
  await measure(all, {
    filter: new RegExp(wishes.get('filter') ?? '.'),
    onStart: what => {
      progress.textContent = `${what} …`;
      console.info(what); // what a headless run shows of its progress
    },
    onResult: result => {
      results.push(result);
      renderResults(results);
    },
  });
  const report: PageReport = {
    browser: navigator.userAgent,
    processors: navigator.hardwareConcurrency,
    isolated: crossOriginIsolated,
    backends: all.map(({ name, backend, description }) => ({ name, here: backend !== null, description })),
    results,
  };
  const sent = await fetch('results', { method: 'POST', body: JSON.stringify(report) }).then(
    r => r.ok,
    () => false,
  );
  progress.textContent = sent ? 'done; the command that served this page has printed it' : 'done';
  example?.hold(false);
  button.disabled = false;
}

button.addEventListener('click', () => void run(candidates));
if (wishes.has('measure')) void run(candidates);
