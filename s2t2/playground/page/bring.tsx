/** The visitor's domain: a file dropped or chosen, a text pasted, or a sample of the site's. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useId } from 'preact/hooks';
import type { DomainSummary } from '../protocol.ts';
import { samples } from '../samples.ts';
import { DropZone, Problem, Section, Slider, kilobytes } from './parts.tsx';
import { choices, domain, limit, loadDomain } from './state.ts';

const pasted = signal('');

const take = (file: File | null | undefined): void => {
  if (file) void loadDomain({ kind: 'file', file: { name: file.name, file } });
};

const formats = { fasta: 'FASTA', text: 'plain text', jsonl: 'JSON Lines' };

function inWords({ name, train, heldOut, format, notes }: DomainSummary): string {
  const amount = ({ texts, bytes }: DomainSummary['train'], what: string): string =>
    `${texts.toLocaleString('en')} ${what} (${kilobytes(bytes)})`;
  const parts = `${amount(train, 'texts to learn from')}, ${amount(heldOut, 'held out')}`;
  return [`${name}: ${parts}, read as ${formats[format]}.`, ...notes.map(note => `Note: ${note}.`)].join(' ');
}

export function Bring(): JSX.Element {
  const { value, busy, error } = domain.value;
  const [fileId, textId] = [useId(), useId()];
  return (
    <Section
      id="domain"
      title="1. Bring a domain"
      lead="Text that an English tokenizer was not made for. It stays on this machine: the page sends nothing anywhere."
    >
      <div class="samples" role="group" aria-label="Samples">
        {samples.map(({ name, title }) => (
          <button
            key={name}
            type="button"
            aria-pressed={choices.value.sample === name && value !== null}
            onClick={() => void loadDomain({ kind: 'sample', name })}
          >
            {title}
          </button>
        ))}
      </div>
      <div class="two">
        <DropZone onDrop={({ files }) => take(files[0])}>
          <label for={fileId}>Drop a FASTA, text or JSON Lines file here, gzip too, or choose one</label>
          <input id={fileId} type="file" onChange={event => take(event.currentTarget.files?.[0])} />
        </DropZone>
        <div class="field">
          <label for={textId}>Or paste text; paragraphs are documents</label>
          <textarea
            id={textId}
            rows={4}
            spellcheck={false}
            value={pasted.value}
            onInput={event => (pasted.value = event.currentTarget.value)}
          />
          <div class="buttons">
            <button
              type="button"
              disabled={pasted.value.trim() === ''}
              onClick={() => void loadDomain({ kind: 'text', text: pasted.value })}
            >
              Use this text
            </button>
          </div>
        </div>
      </div>
      <div class="controls">
        <Slider
          label="Training text at most"
          value={Math.log2(limit.value / 50_000)}
          min={0}
          max={6}
          show={() => kilobytes(limit.value)}
          onInput={x => (limit.value = 50_000 * 2 ** x)}
        />
      </div>
      <Problem>{error}</Problem>
      <p class="status" role="status">
        {busy ? 'Reading …' : value ? inWords(value) : 'Nothing yet. Choose a sample to see what happens.'}
      </p>
    </Section>
  );
}
