/** First exhibit: the layer itself on a plan small enough to be seen whole, sparse beside entropic, round by round. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';

import { variantNames, type Toy, type ToyRound, type ToySettings } from '../protocol.ts';
import { toyColumns, toyIterations, toyRows } from '../toy-tokens.ts';
import { Curves, Select, Slider } from './parts.tsx';
import { lab } from './state.ts';

const settings = signal<ToySettings>({ variant: 'dual', alpha: 1, marginals: 'uniform', prior: 0.7, seed: 0 });
const round = signal(3);
const playing = signal(false);
const toy = signal<Toy | null>(null);

/** One request at a time; the last wish wins. */
let asked = false;
let busy = false;
async function ask(): Promise<void> {
  asked = true;
  if (busy) return;
  busy = true;
  while (asked) {
    asked = false;
    toy.value = await lab.toy(settings.value);
  }
  busy = false;
}

const change = (part: Partial<ToySettings>): void => {
  settings.value = { ...settings.value, ...part };
  void ask();
};

const cell = 16;
const gutter = { left: 40, top: 18 };
const size = {
  width: gutter.left + toyColumns.length * cell + 2,
  height: gutter.top + toyRows.length * cell + 2,
};

/** What a screen reader says of a plan. */
function inWords({ plan, support, entropy, misplaced }: ToyRound): string {
  const mass = `${support} of ${plan.length} cells have mass`;
  return `${mass}, ${entropy.toFixed(2)} bits a row, ${(100 * misplaced).toFixed(1)} % of the mass misplaced`;
}

function Grid({ title, plan }: { title: string; plan: ToyRound | undefined }): JSX.Element {
  const most = plan ? Math.max(...plan.plan) : 1;
  const said = plan ? `${title}: ${inWords(plan)}` : title;
  return (
    <figure class="toy-grid">
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${size.width} ${size.height}`} role="img" aria-label={said}>
        {toyRows.map((row, i) => (
          <text key={row} x={gutter.left - 5} y={gutter.top + (i + 0.72) * cell} text-anchor="end">
            {row}
          </text>
        ))}
        {toyColumns.map((column, j) => (
          <text key={column} x={gutter.left + (j + 0.5) * cell} y={gutter.top - 5} text-anchor="middle">
            {column}
          </text>
        ))}
        <rect
          class="frame"
          x={gutter.left}
          y={gutter.top}
          width={toyColumns.length * cell}
          height={toyRows.length * cell}
        />
        {plan &&
          [...plan.plan].map((p, e) => {
            const [i, j] = [Math.floor(e / toyColumns.length), e % toyColumns.length];
            return p <= 0 ? null : (
              <rect
                key={e}
                class="mass"
                x={gutter.left + j * cell + 0.5}
                y={gutter.top + i * cell + 0.5}
                width={cell - 1}
                height={cell - 1}
                opacity={Math.max(0.04, Math.sqrt(p / most))}
              >
                <title>{`P(${toyRows[i]}, ${toyColumns[j]}) = ${p.toPrecision(2)}`}</title>
              </rect>
            );
          })}
      </svg>
      <dl class="figures">
        <Figure name="cells with mass" value={plan ? String(plan.support) : '–'} />
        <Figure name="entropy, bits a row" value={plan ? plan.entropy.toFixed(2) : '–'} />
        <Figure name="mass misplaced" value={plan ? `${(100 * plan.misplaced).toFixed(1)} %` : '–'} />
      </dl>
    </figure>
  );
}

export const Figure = ({ name, value }: { name: string; value: string }): JSX.Element => (
  <div>
    <dt>{name}</dt>
    <dd>{value}</dd>
  </div>
);

const histories = (made: Toy | null) => [
  {
    title: 'Mass misplaced, by iteration',
    x: { label: 'iterations' },
    y: { label: '% of the mass', log: true },
    series: (['sparse', 'entropic'] as const).map(name => ({
      name,
      emphasis: name === 'sparse',
      // Below a hundred-thousandth it is float32 that speaks.
      points: (made?.[name] ?? []).map((r, t) => ({ x: t + 1, y: Math.max(1e-3, 100 * r.misplaced) })),
    })),
  },
  {
    title: 'Cells with mass, by iteration',
    x: { label: 'iterations' },
    y: { label: 'cells' },
    series: (['sparse', 'entropic'] as const).map(name => ({
      name,
      emphasis: name === 'sparse',
      points: (made?.[name] ?? []).map((r, t) => ({ x: t + 1, y: r.support })),
    })),
  },
];

export function ToyExhibit(): JSX.Element {
  useEffect(() => void ask(), []);
  useEffect(() => {
    if (!playing.value) return;
    const timer = setInterval(() => {
      if (round.value >= toyIterations) playing.value = false;
      else round.value++;
    }, 350);
    return () => clearInterval(timer);
  }, [playing.value]);
  const { variant, alpha, marginals, prior, seed } = settings.value;
  const t = round.value;
  return (
    <>
      <div class="controls">
        <Slider label="Iterations T" value={t} min={1} max={toyIterations} onInput={value => (round.value = value)} />
        <Slider
          label="Regulariser α̂·v"
          value={Math.log10(alpha)}
          min={-1.5}
          max={1}
          step={0.05}
          show={value => (10 ** value).toPrecision(2)}
          onInput={value => change({ alpha: 10 ** value })}
        />
        <Slider
          label="Weight of the prior"
          value={prior}
          min={0}
          max={1}
          step={0.05}
          show={value => `${Math.round(100 * value)} %`}
          onInput={value => change({ prior: value })}
        />
        <Select
          label="Variant"
          value={variant}
          options={variantNames.map(name => ({ value: name, text: name }))}
          onChange={value => change({ variant: value })}
        />
        <Select
          label="Column marginal ν"
          value={marginals}
          options={[
            { value: 'uniform', text: 'uniform' },
            { value: 'zipf', text: 'few letters are common' },
          ]}
          onChange={value => change({ marginals: value })}
        />
        <div class="field buttons">
          <button
            type="button"
            onClick={() => {
              if (!playing.value && round.value >= toyIterations) round.value = 1;
              playing.value = !playing.value;
            }}
          >
            {playing.value ? 'Pause' : 'Play'}
          </button>
          <button type="button" onClick={() => change({ seed: seed + 1 })}>
            New noise
          </button>
        </div>
      </div>
      <div class="two">
        <Grid title="Sparse Sinkhorn" plan={toy.value?.sparse[t - 1]} />
        <Grid title="Entropic Sinkhorn" plan={toy.value?.entropic[t - 1]} />
      </div>
      <div class="toy-curves">
        <Curves plots={histories(toy.value)} />
      </div>
      <p class="note">
        Both start from the same cost, so that a row’s logits are the same. The prior is what the text says: the letters
        of a piece. α small: a vertex of the polytope, few cells; α large: the plan fills up.
      </p>
    </>
  );
}
