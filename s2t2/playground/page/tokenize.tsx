/** Why the tokenizer matters: one text cut by the source tokenizer and by one trained on the visitor's text. */
import { effect, signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useId } from 'preact/hooks';
import type { Cut } from '../protocol.ts';
import { Curves, Problem, Section, Slider } from './parts.tsx';
import { choices, choose, domain, isBusy, lab, passage, tokenizer } from './state.ts';
import { Strips, Tokens } from './tokens.tsx';

const cut = signal<Cut | null>(null);
const problem = signal<string | null>(null);
const growing = signal(false);

/** Cuts what is asked for last. */
let wish = 0;
effect(() => {
  const [text, size, made] = [passage.value, choices.value.vocabulary, tokenizer.value.value];
  const own = ++wish;
  if (!made || text === '') return;
  lab.cut(text, size).then(
    value => {
      if (own !== wish) return;
      [cut.value, problem.value] = [value, null];
    },
    (error: Error) => {
      if (own === wish) problem.value = error.message;
    },
  );
});

export function Tokenize(): JSX.Element {
  const { value, busy, error } = tokenizer.value;
  const textId = useId();
  const size = choices.value.vocabulary;
  useEffect(() => {
    if (!growing.value || !value) return;
    const timer = setInterval(() => {
      const next = choices.value.vocabulary + 1;
      if (next > value.most) growing.value = false;
      else choose({ vocabulary: next });
    }, 120);
    return () => clearInterval(timer);
  }, [growing.value, value]);
  const merged = value ? size - value.least : 0;
  const [left, right] = value?.merges[merged - 1] ?? ['', ''];
  const side = (name: 'source' | 'target') => {
    const tokens = cut.value?.[name] ?? [];
    return cut.value ? `${tokens.length} tokens, ${(tokens.length / cut.value.bytes).toFixed(3)} a byte` : '–';
  };
  return (
    <Section
      id="tokenizer"
      title="2. See why the tokenizer matters"
      lead={
        <>
          A tokenizer trained on English breaks your text into scraps. One trained on your text says the same in fewer
          tokens, so the model reads further and faster. Byte-pair encoding grows it merge by merge.
        </>
      }
    >
      <div class="controls">
        <Slider
          label="Target vocabulary"
          value={size}
          min={value?.least ?? 16}
          max={value?.most ?? 2048}
          disabled={!value || isBusy.value}
          onInput={vocabulary => {
            growing.value = false;
            choose({ vocabulary });
          }}
        />
        <div class="field buttons">
          <button
            type="button"
            disabled={!value || isBusy.value}
            onClick={() => {
              if (!growing.value && value && size >= value.most) choose({ vocabulary: value.least });
              growing.value = !growing.value;
            }}
          >
            {growing.value ? 'Pause' : 'Grow merge by merge'}
          </button>
          <button
            type="button"
            disabled={!value || isBusy.value || merged <= 0}
            onClick={() => choose({ vocabulary: size - 1 })}
          >
            Undo a merge
          </button>
          <button
            type="button"
            disabled={!value || isBusy.value || size >= (value?.most ?? 0)}
            onClick={() => choose({ vocabulary: size + 1 })}
          >
            Next merge
          </button>
        </div>
        <p class="merge">
          {merged > 0 ? (
            <>
              merge {merged}: <span class="token">{left}</span> + <span class="token">{right}</span> →{' '}
              <span class="token">{left + right}</span>
            </>
          ) : value ? (
            'no merge: one token a byte'
          ) : busy ? (
            'Training a tokenizer on your text …'
          ) : (
            'Bring a domain first.'
          )}
        </p>
      </div>
      <div class="field">
        <label for={textId}>The passage</label>
        <textarea
          id={textId}
          rows={2}
          spellcheck={false}
          value={passage.value}
          disabled={!value}
          onInput={event => (passage.value = event.currentTarget.value.slice(0, 2000))}
        />
      </div>
      <Problem>{error ?? problem.value}</Problem>
      <Strips>
        <div>
          <h3>English tokenizer</h3>
          <p class="count">{side('source')}</p>
          <Tokens tokens={cut.value?.source ?? []} label="The passage in English tokens" />
        </div>
        <div>
          <h3>{domain.value.value ? 'Yours' : 'Target tokenizer'}</h3>
          <p class="count">{side('target')}</p>
          <Tokens tokens={cut.value?.target ?? []} label="The passage in target tokens" />
        </div>
      </Strips>
      <div class="reserve">
        {value && (
          <Curves
            plots={[
              {
                title: 'Held-out tokens per byte, by vocabulary size',
                x: { label: 'tokens in the vocabulary', log: true },
                y: { label: 'tokens per byte' },
                series: [
                  {
                    name: 'trained on your text',
                    emphasis: true,
                    points: value.compression.map(p => ({ x: p.size, y: p.tokensPerByte })),
                  },
                ],
                levels: [{ name: 'English tokenizer', y: value.sourceTokensPerByte }],
              },
            ]}
          />
        )}
      </div>
    </Section>
  );
}
