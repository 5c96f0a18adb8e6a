/**
 * The adapted models at work: generated text with its surprise, a sequence scored both ways, what a token is made of.
 */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useId } from 'preact/hooks';
import type { Explanation } from '../../explain.ts';
import type { ScoredText } from '../protocol.ts';
import { Problem, Section, Select, Slider } from './parts.tsx';
import { lab, passage, run } from './state.ts';
import { Strips, Tokens } from './tokens.tsx';

const method = signal('');
const prompt = signal('');
const temperature = signal(0.8);
const seed = signal(0);
const spoken = signal<ScoredText | null>(null);
const sequence = signal<string | null>(null);
const scored = signal<readonly ScoredText[]>([]);
const token = signal('');
const explained = signal<Explanation | null>(null);
const names = signal<readonly string[]>([]);
const busy = signal(false);
const problem = signal<string | null>(null);

async function attempt(work: () => Promise<void>): Promise<void> {
  [busy.value, problem.value] = [true, null];
  await work().catch((error: Error) => {
    problem.value = error.message;
  });
  busy.value = false;
}

export function Play(): JSX.Element {
  const done = run.value.phase === 'done';
  const available = run.value.results?.methods.filter(row => row.tokens > 0).map(row => row.name) ?? [];
  const speaker = available.includes(method.value)
    ? method.value
    : available.includes('s2t2')
      ? 's2t2'
      : (available.at(-1) ?? '');
  const [promptId, textId, tokenId] = [useId(), useId(), useId()];
  const text = sequence.value ?? passage.value;
  const off = !done || busy.value;
  return (
    <Section
      id="play"
      title="4. Play with the result"
      lead="Colour is surprise in bits per byte: a token without colour was expected, a deep red one was not."
    >
      <Problem>{problem.value}</Problem>
      <h3>Generate</h3>
      <div class="controls">
        <Select
          label="Model"
          value={speaker}
          disabled={off}
          options={
            available.length > 0
              ? available.map(name => ({ value: name, text: name }))
              : [{ value: '', text: 'after a run' }]
          }
          onChange={value => (method.value = value)}
        />
        <Slider
          label="Temperature"
          value={temperature.value}
          min={0}
          max={1.5}
          step={0.1}
          show={x => x.toFixed(1)}
          onInput={x => (temperature.value = x)}
        />
        <div class="field">
          <label for={promptId}>Prompt, may be empty</label>
          <input
            id={promptId}
            type="text"
            spellcheck={false}
            value={prompt.value}
            onInput={event => (prompt.value = event.currentTarget.value)}
          />
        </div>
        <div class="field buttons">
          <button
            type="button"
            disabled={off}
            onClick={() =>
              void attempt(async () => {
                spoken.value = await lab.generate({
                  method: speaker,
                  prompt: prompt.value,
                  maxTokens: 80,
                  temperature: temperature.value,
                  seed: seed.value++,
                });
              })
            }
          >
            Generate
          </button>
        </div>
      </div>
      <div class="spoken">
        {spoken.value && (
          <>
            <p class="count">
              {spoken.value.method}: {spoken.value.tokens.length} tokens
              {Number.isFinite(spoken.value.bitsPerByte) &&
                `, ${spoken.value.bitsPerByte.toFixed(2)} bits per byte under itself`}
            </p>
            <Tokens tokens={spoken.value.tokens} label="Generated text" />
          </>
        )}
      </div>
      <h3>Score a sequence of your own</h3>
      <div class="field">
        <label for={textId}>The sequence</label>
        <textarea
          id={textId}
          rows={2}
          spellcheck={false}
          value={text}
          onInput={event => (sequence.value = event.currentTarget.value)}
        />
        <div class="buttons">
          <button
            type="button"
            disabled={off || text === ''}
            onClick={() =>
              void attempt(async () => {
                scored.value = await lab.score(text, ['untrained', speaker]);
              })
            }
          >
            Score it both ways
          </button>
        </div>
      </div>
      {scored.value.length > 0 && (
        <Strips>
          {scored.value.map(({ method: name, tokens, bitsPerByte }) => (
            <div key={name}>
              <h4>{name === 'untrained' ? 'The English model as it was' : `The adapted model (${name})`}</h4>
              <p class="count">
                {tokens.length} tokens, {bitsPerByte.toFixed(3)} bits per byte
              </p>
              <Tokens tokens={tokens} label={`The sequence as ${name} reads it`} />
            </div>
          ))}
        </Strips>
      )}
      <h3>What is a target token made of?</h3>
      <div class="controls">
        <div class="field">
          <label for={tokenId}>Target token</label>
          <input
            id={tokenId}
            type="text"
            list={`${tokenId}-list`}
            spellcheck={false}
            autocomplete="off"
            value={token.value}
            onFocus={() => {
              if (names.value.length === 0) void lab.targetTokens().then(list => (names.value = list));
            }}
            onInput={event => (token.value = event.currentTarget.value)}
          />
          <datalist id={`${tokenId}-list`}>
            {names.value.map(name => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </div>
        <div class="field buttons">
          <button
            type="button"
            disabled={off || token.value === ''}
            onClick={() =>
              void attempt(async () => {
                explained.value = await lab.explain(token.value);
                if (!explained.value) problem.value = `the target vocabulary has no token ${token.value}`;
              })
            }
          >
            Explain
          </button>
        </div>
      </div>
      {explained.value && (
        <div role="status">
          <p>
            <span class="token">{explained.value.token}</span> is made of {explained.value.support} source tokens.{' '}
            Together the {explained.value.sources.length} largest cover {(100 * explained.value.covered).toFixed(1)} %.
          </p>
          <ol class="made">
            {explained.value.sources.map(({ token: part, probability }) => (
              <li key={part}>
                <span class="token">{part}</span> <meter min={0} max={1} value={probability} aria-label={part} />{' '}
                {(100 * probability).toFixed(1)} %
              </li>
            ))}
          </ol>
        </div>
      )}
    </Section>
  );
}
