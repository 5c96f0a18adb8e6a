/**
 * Plots as SVG that stretches with the page: positions are percentages, lines are drawn in a stretched inner picture
 * with strokes that keep their width, and text keeps its size. live/curves.ts handles the pointer and the keyboard.
 */
import type { CurvePlot, CurvePlotPoint } from './data.ts';
import { html, type Html } from './html.ts';
import { percent, place, tickLabel, ticks, type Scale } from './scale.ts';
import { colours } from './style.ts';

/** Of lines, so that they differ by more than colour. */
const dashes = ['', '7 3', '2 3', '9 3 2 3'];

/**
 * What live/curves.ts needs of a plot: for each series its index among all names, its colour, and its points in x, y
 * pairs.
 */
export interface PlotView {
  readonly x: Scale & { readonly label: string };
  readonly y: Scale;
  readonly series: readonly {
    readonly index: number;
    readonly colour: number;
    readonly name: string;
    readonly points: readonly number[];
  }[];
}

/** Numbers on the page: six digits tell any two places apart. */
const short = (x: number): number => Number(x.toPrecision(6));

/** The inner picture is this wide and high. */
const side = 1000;

const scaleOf = (values: readonly number[], log = false): Scale => {
  const usable = values.filter(v => Number.isFinite(v) && (!log || v > 0));
  return { min: Math.min(...usable), max: Math.max(...usable), log };
};

/**
 * The range of y. Where the first few points tower over the rest (an untrained start), the axis ends above the lower
 * nine tenths of them and lines leave the picture there.
 */
function yScale({ y, series, levels = [] }: CurvePlot): Scale {
  const values = [...series.flatMap(s => [...s.points, ...(s.marks ?? [])]), ...levels]
    .flatMap((p: { y: number; low?: number; high?: number }) => [p.y, p.low ?? p.y, p.high ?? p.y])
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const whole = scaleOf(values, y.log);
  const most = values[Math.floor(0.9 * (values.length - 1))];
  const towers = !y.log && whole.max - whole.min > 2 * (most - whole.min) && most > whole.min;
  const max = towers ? most : whole.max;
  const margin = y.log ? 0 : 0.04 * (max - whole.min);
  return { ...whole, min: whole.min - margin, max: max + margin };
}

/** Names in the order of their colours: what is emphasised has the first. */
export function seriesNames(plots: readonly CurvePlot[]): string[] {
  const series = plots.flatMap(p => p.series);
  return [...new Set([...series.filter(s => s.emphasis), ...series].map(s => s.name))];
}

/** Scales and marks of a plot, from its points. */
export function viewPlot(plot: CurvePlot, names: readonly string[]): PlotView {
  const x = scaleOf(
    plot.series.flatMap(s => [...s.points, ...(s.marks ?? [])].map(p => p.x)),
    plot.x.log,
  );
  // What nearly begins at zero does so on the axis.
  const min = !x.log && x.min > 0 && x.min < x.max / 4 ? 0 : x.min;
  return {
    x: { ...x, min, label: plot.x.label },
    y: yScale(plot),
    series: plot.series.map(s => ({
      index: names.indexOf(s.name),
      colour: names.indexOf(s.name) % colours,
      name: s.name,
      points: s.points.flatMap(p => [short(p.x), short(p.y)]),
    })),
  };
}

/** The attributes of a series' line. */
function stroke(index: number, emphasis = false): Html {
  const classes = `series s${index % colours}${emphasis ? ' strong' : ''}`;
  const dash = dashes[Math.floor(index / 2) % dashes.length];
  return html`class="${classes}" data-series="${index}" stroke-dasharray="${dash}"`;
}

type Place = readonly [x: number, y: number];

const coordinates = ([x, y]: Place): string => `${(side * x).toFixed(1)} ${(side * (1 - y)).toFixed(1)}`;

/** A path through places on the inner picture. */
const path = (places: readonly Place[]): string => (places.length > 0 ? `M${places.map(coordinates).join('L')}` : '');

/** As many points as are still told apart as dots. */
const fewPoints = 12;
/** Dots: lines of no length, with round ends. */
const dots = (places: readonly Place[]): string => places.map(p => `M${coordinates(p)}h0`).join('');

/** A tick of y: a line across the picture and its number to the left. */
function yTick(value: number, scale: Scale): Html {
  const at = percent(1 - place(scale, value));
  return html`<line class="grid" x1="0" x2="100%" y1="${at}" y2="${at}"/>
<text x="-8" y="${at}" dy="4" text-anchor="end">${tickLabel(value)}</text>`;
}

/** A tick of x: a short line and its number below the picture. */
function xTick(value: number, scale: Scale): Html {
  const at = percent(place(scale, value));
  return html`<line class="tick" x1="${at}" x2="${at}" y1="100%" y2="100%" transform="translate(0 4)"/>
<text x="${at}" y="100%" dy="18" text-anchor="middle">${tickLabel(value)}</text>`;
}

function axes(x: Scale, y: Scale, xLabel: string, yLabel: string): Html {
  return html`<g class="axes">${ticks(y, 5).map(t => yTick(t, y))}${ticks(x, 4).map(t => xTick(t, x))}
<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>
<text class="label" x="100%" y="100%" dy="38" text-anchor="end">${xLabel}</text>
<text class="label" x="-44" y="-14">${yLabel}</text></g>`;
}

/** Measurements as rings, with their intervals. */
function renderMarks(marks: readonly CurvePlotPoint[], index: number, at: (x: number, y: number) => Place): Html {
  const places = dots(marks.map(m => at(m.x, m.y)));
  const bars = marks
    .filter(m => m.low !== undefined && m.high !== undefined)
    .map(m => path([at(m.x, m.low!), at(m.x, m.high!)]));
  return html`<g class="marks s${index % colours}" data-series="${index}"><path class="bar-line" d="${bars.join('')}"/>
<path class="ring" d="${places}"/><path class="hole" d="${places}"/></g>`;
}

/** Levels on the picture; those that nearly touch share a label. */
function renderLevels(levels: NonNullable<CurvePlot['levels']>, y: Scale): Html {
  const seen = levels
    .map(({ name, y: value }) => ({ name, at: place(y, value) }))
    .filter(({ at }) => at >= 0 && at <= 1)
    .sort((a, b) => b.at - a.at);
  const groups: { readonly at: number; readonly names: string[]; last: number }[] = [];
  for (const { name, at } of seen) {
    const group = groups.at(-1);
    if (group && group.last - at < 0.06) {
      group.names.push(name);
      group.last = at;
    } else groups.push({ at, names: [name], last: at });
  }
  const line = (y: string): Html => html`<line class="level" x1="0" x2="100%" y1="${y}" y2="${y}"/>`;
  const label = (y: string, text: string): Html =>
    html`<text class="level" x="100%" y="${y}" dy="-4" text-anchor="end">${text}</text>`;
  const lines = seen.map(({ at }) => line(percent(1 - at)));
  const labels = groups.map(({ at, names }) => label(percent(1 - at), names.join(' · ')));
  return html`<g class="levels">${lines}${labels}</g>`;
}

function renderPlot(plot: CurvePlot, view: PlotView, id: string): Html {
  const { x, y } = view;
  const at = (px: number, py: number): Place => [place(x, px), place(y, py)];
  const drawn = plot.series.map((s, i) => {
    const points = s.points.filter(p => Number.isFinite(place(x, p.x)) && Number.isFinite(place(y, p.y)));
    const band = points.filter(p => p.low !== undefined && p.high !== undefined);
    const last = points.at(-1);
    const { index } = view.series[i];
    const places = points.map(p => at(p.x, p.y));
    const outline = [...band.map(p => at(p.x, p.high!)), ...band.toReversed().map(p => at(p.x, p.low!))];
    const shape = (kind: string, d: string): Html =>
      html`<path class="${kind} s${index % colours}" data-series="${index}" d="${d}"/>`;
    return {
      band: band.length > 1 ? shape('band', `${path(outline)}Z`) : '',
      line: html`<path ${stroke(index, s.emphasis)} d="${path(places)}"/>`,
      dots: points.length <= fewPoints ? shape('dots', dots(places)) : '',
      marks: s.marks?.length ? renderMarks(s.marks, index, at) : '',
      summary: [
        last && `${s.name} ends at ${tickLabel(last.y)}`,
        s.marks?.length && `${s.name} measured ${s.marks.map(m => tickLabel(m.y)).join(', ')}`,
      ]
        .filter(Boolean)
        .join(', '),
    };
  });
  const summary = `${plot.y.label} against ${plot.x.label}: ${drawn
    .map(d => d.summary)
    .filter(Boolean)
    .join(', ')}`;
  const levels = renderLevels(plot.levels ?? [], y);
  return html`<figure class="plot" data-plot="${id}"><figcaption>${plot.title}</figcaption>
<div class="area" tabindex="0" role="img" aria-label="${summary}"><svg class="chart" aria-hidden="true">
${axes(x, y, plot.x.label, plot.y.label)}${levels}
<svg viewBox="0 0 ${side} ${side}" preserveAspectRatio="none" width="100%" height="100%">
${drawn.map(d => [d.band, d.line, d.dots])}${drawn.map(d => d.marks)}</svg>
<line class="hair" y1="0" y2="100%" visibility="hidden"/></svg>
<div class="readout" hidden></div></div>
<p class="tools">${['svg', 'csv'].map(format => downloadButton(format, `plot-${id}`, plot.title))}</p></figure>`;
}

function downloadButton(format: string, id: string, title: string): Html {
  const name = format.toUpperCase();
  const label = `Download as ${name}: ${title}`;
  return html`<button type="button" data-download="${format} ${id}" aria-label="${label}">${name}</button>`;
}

/** Whether points lie above their plot's axis. */
const anyAbove = (plots: readonly CurvePlot[], views: readonly PlotView[]): boolean =>
  plots.some((plot, i) => plot.series.some(s => s.points.some(p => p.y > views[i].y.max)));

/**
 * Plots of one section under one legend, whose buttons show and hide a series in all of them. Ids count from `first`.
 */
export const renderCurves = (plots: readonly CurvePlot[], views: readonly PlotView[], first: number): Html =>
  html`${renderLegend(views)}
${renderPlots(plots, views, first)}`;

/** The legend that plots of the same series share. */
export function renderLegend(views: readonly PlotView[]): Html {
  const series = new Map(views.flatMap(v => v.series.map(s => [s.index, s.name] as const)));
  const button = (index: number, name: string): Html => {
    const line = html`<line x1="1" x2="25" y1="5" y2="5" ${stroke(index)}/>`;
    const key = html`<svg width="26" height="10" aria-hidden="true">${line}</svg>`;
    return html`<button type="button" aria-pressed="true" data-series="${index}">${key}${name}</button>`;
  };
  const buttons = [...series].sort(([a], [b]) => a - b).map(([index, name]) => button(index, name));
  return html`<div class="legend" role="group" aria-label="Show or hide a curve">${buttons}</div>`;
}

const cutNote = html`<p class="note">Curves begin above the picture: its axis leaves out the highest tenth, so that the
rest can be told apart.</p>`;

/** Plots as SVG; `first` numbers their identifiers. */
export const renderPlots = (plots: readonly CurvePlot[], views: readonly PlotView[], first: number): Html =>
  html`<div class="plots">${plots.map((plot, i) => renderPlot(plot, views[i], String(first + i)))}</div>
${anyAbove(plots, views) ? cutNote : ''}`;

/** Counts of values in some twenty bins with round edges. */
export function renderHistogram(values: readonly number[], title: string, xLabel: string): Html {
  const { min, max } = scaleOf(values);
  const whole = values.every(Number.isInteger);
  const edges = ticks({ min, max, log: false }, 20);
  const width = Math.max(edges.length > 1 ? edges[1] - edges[0] : 1, whole ? 1 : 0);
  const first = Math.floor(min / width);
  const counts = new Array<number>(Math.floor(max / width) - first + 1).fill(0);
  for (const v of values) counts[Math.floor(v / width) - first]++;
  const x: Scale = { min: first * width, max: (first + counts.length) * width, log: false };
  const y: Scale = { min: 0, max: Math.max(...counts), log: false };
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const edge = (i: number) => tickLabel((first + i) * width);
  const bin = (count: number, i: number): Html => {
    const [left, wide] = [percent(i / counts.length), percent(1 / counts.length)];
    const [top, high] = [percent(1 - place(y, count)), percent(place(y, count))];
    return html`<rect class="bin" x="${left}" width="${wide}" y="${top}" height="${high}">
<title>${count} from ${edge(i)} to below ${edge(i + 1)}</title></rect>`;
  };
  const summary = `${title}: from ${tickLabel(min)} to ${tickLabel(max)}, mean ${tickLabel(mean)}`;
  const middle = percent(place(x, mean));
  return html`<figure class="plot"><figcaption>${title}</figcaption>
<div class="area"><svg class="chart low" role="img" aria-label="${summary}">${axes(x, y, xLabel, 'target tokens')}
${counts.map(bin)}
<line class="mean" x1="${middle}" x2="${middle}" y1="0" y2="100%"/>
<text class="mean" x="${middle}" y="-6" text-anchor="middle">mean ${tickLabel(mean)}</text></svg></div></figure>`;
}
