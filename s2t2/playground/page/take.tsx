/** What the visitor takes away: the model and all about it as one file, and a link with the settings. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { Problem, Section } from './parts.tsx';
import { choices, lab, run } from './state.ts';

const said = signal('');
const problem = signal<string | null>(null);

async function download(): Promise<void> {
  problem.value = null;
  try {
    const blob = await lab.archive();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `s2t2-${choices.value.sample ?? 'own-text'}.zip`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    said.value = `Downloaded ${(blob.size / 1e6).toFixed(1)} MB.`;
  } catch (error) {
    problem.value = (error as Error).message;
  }
}

async function copyLink(): Promise<void> {
  await navigator.clipboard.writeText(location.href).then(
    () => (said.value = 'The link is on the clipboard.'),
    () => (said.value = `Copy it from the address bar: ${location.href}`),
  );
}

export function Take(): JSX.Element {
  return (
    <Section
      id="take"
      title="5. Take it away"
      lead={
        <>
          One zip with the model directory (model.safetensors, config.json, tokenizer.json), the plan, results.json, the
          report and the held-out texts. The link carries the settings, never your text.
        </>
      }
    >
      <div class="buttons">
        <button type="button" class="main" disabled={run.value.phase !== 'done'} onClick={() => void download()}>
          Download
        </button>
        <button type="button" onClick={() => void copyLink()}>
          Copy a link to these settings
        </button>
      </div>
      <p role="status">{said.value || (run.value.phase === 'done' ? '' : 'There is a download when a run is done.')}</p>
      <Problem>{problem.value}</Problem>
    </Section>
  );
}
