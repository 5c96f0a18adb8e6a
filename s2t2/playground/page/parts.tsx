/** The page's small parts: sections, controls, and the report's views as components. */
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { renderLegend, renderPlots, seriesNames, viewPlot, type PlotView } from '../../view/chart.ts';
import type { CurvePlot, ReportTable } from '../../view/data.ts';
import type { Html } from '../../view/html.ts';
import { mountCurves } from '../../view/live/curves.ts';
import { mountDownloads } from '../../view/live/downloads.ts';
import { mountPicture, type Picture } from '../../view/live/picture.ts';
import { renderPicture, type PictureView } from '../../view/picture.ts';
import { renderTable } from '../../view/table.ts';

export function Section({
  id,
  title,
  lead,
  children,
}: {
  id: string;
  title: string;
  lead: ComponentChildren;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <p>{lead}</p>
      {children}
    </section>
  );
}

/** A place to drop files; the drop must be read while the event is handled. */
export function DropZone({
  id,
  onDrop,
  children,
}: {
  id?: string;
  onDrop: (dropped: DataTransfer) => void;
  children: ComponentChildren;
}): JSX.Element {
  const [over, setOver] = useState(false);
  return (
    <div
      id={id}
      class={`drop${over ? ' over' : ''}`}
      onDragOver={event => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={event => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer) onDrop(event.dataTransfer);
      }}
    >
      {children}
    </div>
  );
}

/** A slider with its name and its value, which `show` writes. */
export function Slider({
  label,
  value,
  min,
  max,
  step = 1,
  show = String,
  onInput,
  disabled = false,
}: {
  label: string;
  value: number;
  min: number;
  max: number;
  step?: number;
  show?: (value: number) => string;
  onInput: (value: number) => void;
  disabled?: boolean;
}): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <output for={id}>{show(value)}</output>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        disabled={disabled}
        aria-valuetext={show(value)}
        onInput={event => onInput(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

export function Select<T extends string>({
  label,
  value,
  options,
  onChange,
  disabled = false,
}: {
  label: string;
  value: T;
  options: readonly { readonly value: T; readonly text: string; readonly disabled?: boolean }[];
  onChange: (value: T) => void;
  disabled?: boolean;
}): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} disabled={disabled} onChange={event => onChange(event.currentTarget.value as T)}>
        {options.map(option => (
          <option key={option.value} value={option.value} disabled={option.disabled}>
            {option.text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** What went wrong, for eyes and screen readers; nothing where nothing did. */
export const Problem = ({ children }: { children: string | null }): JSX.Element => (
  <p class="problem" role="alert">
    {children}
  </p>
);

/** Markup of the report's views. */
export const Markup = ({ of, class: name }: { of: Html; class?: string }): JSX.Element => (
  // oxlint-disable-next-line react/no-danger -- escaped by construction, see view/html.ts
  <div class={name} dangerouslySetInnerHTML={{ __html: of.text }} />
);

/** A table with its download. Redrawing keeps an explanation of rows open that was open. */
export function Table({ of, id }: { of: ReportTable; id: string }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const shown = useRef(of);
  shown.current = of;
  useEffect(() => mountDownloads(root.current!, () => ({ tables: { [id]: shown.current }, plots: [] })), []);
  const markup = renderTable(of, id).text;
  useLayoutEffect(() => {
    const open = root.current!.querySelector('details')?.open ?? false;
    root.current!.innerHTML = markup;
    const terms = root.current!.querySelector('details');
    if (terms) terms.open = open;
  }, [markup]);
  return <div ref={root} />;
}

/**
 * Plots under one legend. They are drawn again as data arrive, but not while the keyboard focus is on them, and curves
 * that the visitor has hidden stay hidden.
 */
export function Curves({ plots }: { plots: readonly CurvePlot[] }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const drawing = useRef<HTMLDivElement>(null);
  const views = useRef<readonly PlotView[]>([]);
  const drawn = useRef('');
  const names = seriesNames(plots);
  const seen = plots.map(plot => viewPlot(plot, names));
  const legend = useMemo(() => renderLegend(seen), [names.join('\n')]);
  useEffect(() => {
    mountCurves(root.current!, () => views.current);
    mountDownloads(root.current!, () => ({ tables: {}, plots: views.current }));
  }, []);
  useLayoutEffect(() => {
    const box = drawing.current!;
    const markup = renderPlots(plots, seen, 0).text;
    if (markup === drawn.current || box.contains(document.activeElement)) return;
    [views.current, drawn.current] = [seen, markup];
    box.innerHTML = markup;
    for (const off of root.current!.querySelectorAll<HTMLElement>('.legend [aria-pressed=false]'))
      for (const path of box.querySelectorAll(`[data-series="${off.dataset.series}"]`)) path.classList.add('off');
  });
  return (
    <div ref={root}>
      <Markup of={legend} />
      <div ref={drawing} />
    </div>
  );
}

/** The picture of a plan, which keeps its place while the plan changes. */
export function PlanPicture({ view }: { view: PictureView }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const picture = useRef<Picture | null>(null);
  const frame = useMemo(() => renderPicture(view), [view.rows.length, view.columns.length]);
  useLayoutEffect(() => {
    if (picture.current) picture.current.update(view);
    else picture.current = mountPicture(root.current!.querySelector<HTMLElement>('.picture')!, view);
  }, [view]);
  useEffect(() => () => picture.current?.dispose(), []);
  return (
    <div ref={root} key={`${view.rows.length} ${view.columns.length}`}>
      <Markup of={frame} />
    </div>
  );
}

export const kilobytes = (n: number): string => `${Math.round(n / 1000).toLocaleString('en')} kB`;
