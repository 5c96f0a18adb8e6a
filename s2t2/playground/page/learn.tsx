/** A run: the plan as it is learned, the table as its rows fill in, the curves. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import { markOf, resultsTable } from '../../view/describe.ts';
import type { CurvePlot } from '../../view/data.ts';
import { variantNames, type RunForecast } from '../protocol.ts';
import { methodNames } from './rows.ts';
import { Curves, PlanPicture, Problem, Section, Select, Slider, Table } from './parts.tsx';
import {
  backend,
  choices,
  choose,
  domain,
  isBusy,
  lab,
  model,
  pauseRun,
  resumeRun,
  run,
  saved,
  settings,
  startRun,
  stepRun,
  stopRun,
} from './state.ts';
import { Figure } from './toy.tsx';

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

function describeForecast({ need, limit, recompute }: RunForecast): string {
  const has = limit === null ? '' : ` of the page’s ${gibibytes(limit)}`;
  return `Needs about ${gibibytes(need)} of memory${has}${recompute ? '; layers are computed twice to fit' : ''}.`;
}

/** What the run will need, or why it does not fit; asked again when its settings change. */
function useForecast(): { readonly said: string; readonly problem: string | null } {
  const [answer, setAnswer] = useState<{ said: string; problem: string | null }>({ said: '', problem: null });
  const [ready, runs, wanted, methods] = [
    model.value.value,
    backend.value.value,
    settings.value,
    choices.value.methods,
  ];
  // The estimate of another model would be wrong for as long as a large one takes to rehearse.
  useEffect(() => setAnswer({ said: 'Estimating memory …', problem: null }), [ready, runs]);
  useEffect(() => {
    if (!ready) return;
    let current = true;
    lab.forecast(wanted, methods).then(
      forecast => current && setAnswer({ said: describeForecast(forecast), problem: null }),
      (error: Error) => current && setAnswer({ said: '', problem: error.message }),
    );
    return () => {
      current = false;
    };
  }, [ready, runs, wanted, methods]);
  return answer;
}

function SettingsForm(): JSX.Element {
  const { tokens, planShare, variant, iterations, alpha, seed, methods, validations } = choices.value;
  const busy = isBusy.value;
  return (
    <>
      <div class="controls">
        <Slider
          label="Training tokens per row"
          value={Math.log10(tokens)}
          min={3}
          max={5.5}
          step={0.05}
          disabled={busy}
          show={() => tokens.toLocaleString('en')}
          onInput={x => choose({ tokens: Number((10 ** x).toPrecision(2)) })}
        />
        <Slider
          label="Of these for the plan"
          value={planShare}
          min={0.05}
          max={0.9}
          step={0.05}
          disabled={busy}
          show={x => `${Math.round(100 * x)} %`}
          onInput={x => choose({ planShare: Number(x.toFixed(2)) })}
        />
        <Slider
          label="Regulariser α̂·v"
          value={Math.log10(alpha)}
          min={-1.5}
          max={1.5}
          step={0.1}
          disabled={busy}
          show={() => alpha.toPrecision(2)}
          onInput={x => choose({ alpha: Number((10 ** x).toPrecision(2)) })}
        />
        <Slider
          label="Iterations T"
          value={iterations}
          min={1}
          max={10}
          disabled={busy}
          onInput={value => choose({ iterations: value })}
        />
        <Select
          label="Variant"
          value={variant}
          disabled={busy}
          options={variantNames.map(name => ({ value: name, text: name }))}
          onChange={value => choose({ variant: value })}
        />
        <Slider
          label="Held-out scores while finetuning"
          value={validations}
          min={0}
          max={10}
          disabled={busy}
          onInput={value => choose({ validations: value })}
        />
        <Slider label="Seed" value={seed} min={0} max={9} disabled={busy} onInput={value => choose({ seed: value })} />
      </div>
      <fieldset class="rows" disabled={busy}>
        <legend>Rows of the table</legend>
        {methodNames.map(name => (
          <label key={name}>
            <input
              type="checkbox"
              checked={methods.includes(name)}
              onChange={event =>
                choose({
                  methods: methodNames.filter(m => (m === name ? event.currentTarget.checked : methods.includes(m))),
                })
              }
            />
            {name}
          </label>
        ))}
      </fieldset>
    </>
  );
}

function Buttons(): JSX.Element {
  const { phase } = run.value;
  const ready = domain.value.value !== null && model.value.value !== null && choices.value.methods.length > 0;
  return (
    <div class="buttons">
      {phase === 'running' || phase === 'paused' ? (
        <>
          <button type="button" class="main" onClick={() => void (phase === 'running' ? pauseRun() : resumeRun())}>
            {phase === 'running' ? 'Pause' : 'Continue'}
          </button>
          <button type="button" onClick={() => void stepRun()}>
            One step
          </button>
          <button type="button" onClick={() => void stopRun()}>
            Stop
          </button>
        </>
      ) : (
        <>
          <button type="button" class="main" disabled={!ready} onClick={() => void startRun()}>
            {phase === 'idle' ? 'Learn and compare' : 'Start again'}
          </button>
          {phase === 'stopped' && (
            <button type="button" onClick={() => void startRun(true)}>
              Resume
            </button>
          )}
        </>
      )}
    </div>
  );
}

/** A run that a reload interrupted waits for a decision. */
function Saved(): JSX.Element | null {
  const found = saved.value;
  if (!found || isBusy.value) return null;
  return (
    <div class="saved" role="status">
      <p>
        A run on {found.domain.name} ({found.methods.join(', ')}) was interrupted. It resumes where it was last saved.
      </p>
      <div class="buttons">
        <button type="button" class="main" disabled={!model.value.value} onClick={() => void startRun(true)}>
          Resume the run
        </button>
        <button
          type="button"
          onClick={() => {
            saved.value = null;
            void lab.forget();
          }}
        >
          Forget it
        </button>
      </div>
    </div>
  );
}

function plots(): CurvePlot[] {
  const { curves, floors } = run.value;
  const levels = floors
    .filter(row => row.name !== 'uniform')
    .map(row => ({ name: row.name, y: row.after.bitsPerByte }));
  return (['tokens', 'seconds'] as const).map(unit => ({
    title: unit === 'tokens' ? 'By tokens trained on' : 'By seconds of training',
    x: { label: unit },
    y: { label: 'bits per byte' },
    series: choices.value.methods.flatMap(name => {
      const curve = curves.find(c => c.name === name);
      return curve
        ? [
            {
              name,
              emphasis: name === 's2t2',
              points: curve.points.map(p => ({ x: p[unit], y: p.bitsPerByte })),
              marks: curve.marks.map(m => markOf(m[unit], m.metrics)),
            },
          ]
        : [];
    }),
    levels,
  }));
}

export function Learn(): JSX.Element {
  const state = run.value;
  const { plan, rows, floors } = state;
  const forecast = useForecast();
  const table = [...floors, ...rows.map(r => r.row ?? { name: r.name, before: r.before, after: r.after })];
  return (
    <Section
      id="learn"
      title="3. Learn, finetune and compare"
      lead={
        <>
          First the plan is learned with the model frozen, from nothing but the model’s own loss on your text; then the
          model is finetuned. Every row of the table has the same budget, and learning the plan counts.
        </>
      }
    >
      <Saved />
      <SettingsForm />
      <Buttons />
      <p class="note">{forecast.said}</p>
      <Problem>{state.error ?? forecast.problem}</Problem>
      {state.log.map(line => (
        <p key={line} class="note">
          {line}
        </p>
      ))}
      <div class="progress">
        <progress aria-label="The part that is running" max={1} value={state.share} />
        <p role="status">
          {state.phase === 'idle'
            ? 'Not started.'
            : state.phase === 'done'
              ? 'Done.'
              : state.phase === 'stopped'
                ? 'Stopped; what was done is kept.'
                : state.phase === 'failed'
                  ? 'Failed.'
                  : `${state.phase === 'paused' ? 'Paused. ' : ''}${state.doing}`}
          {state.tokensPerSecond && isBusy.value
            ? ` · ${Math.round(state.tokensPerSecond).toLocaleString('en')} tokens a second`
            : ''}
        </p>
      </div>
      <div class="table-room">{table.length > 0 && <Table of={resultsTable(table)} id="live-table" />}</div>
      <div class="reserve">{state.curves.length > 0 && <Curves plots={plots()} />}</div>
      <h3>The plan</h3>
      <div class="plan-room">
        {plan ? (
          <>
            <dl class="figures">
              <Figure name="cells with mass" value={plan.report.support.toLocaleString('en')} />
              <Figure name="source tokens a row" value={plan.report.supportPerRow[1].toFixed(1)} />
              <Figure name="entropy, bits a row" value={plan.report.entropy.toFixed(2)} />
              <Figure name="mass misplaced" value={`${(100 * plan.report.residual).toFixed(2)} %`} />
            </dl>
            <PlanPicture view={plan.picture} />
          </>
        ) : (
          <p class="note">The row s2t2 learns a plan: its picture appears here and changes as the plan is learned.</p>
        )}
      </div>
    </Section>
  );
}
