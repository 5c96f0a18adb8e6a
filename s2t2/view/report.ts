/** report.html: one file that shows a run and makes no network requests. */
import { sha256 } from '../../models/sha256.ts';
import { tokenizerToJson } from '../../models/tokenizer/index.ts';
import { renderCurves, seriesNames, viewPlot, type PlotView } from './chart.ts';
import type { CurvePlot, ReportData, ReportTable } from './data.ts';
import { base64, Html, html, json, type Content } from './html.ts';
import {
  packPicture,
  renderExplanations,
  renderPicture,
  renderRowStatistics,
  viewPlan,
  type PackedPicture,
} from './picture.ts';
import { renderSample } from './sample.ts';
import { style } from './style.ts';
import { renderTable } from './table.ts';

interface Section {
  readonly id: string;
  readonly title: string;
  readonly content: Html;
}

/** The hash by which a content policy knows a script or a style. */
const hash = (text: string): string =>
  `'sha256-${base64(Uint8Array.from(sha256(text).match(/../g)!, pair => parseInt(pair, 16)))}'`;

/**
 * Shown when all of it has been read: painted while its columns and plots still come in, a table or a grid would shift.
 * A browser without `:has` drops the rule and shows the page at once.
 */
const complete = '<span id="end" hidden></span>';
const reportStyle = `${style}body:not(:has(> #end)) { visibility: hidden; }\n`;

/** What the page's script is given, as JSON: see live/report.ts. */
export interface ReportPayload {
  readonly plots: readonly PlotView[];
  /** By the ids of their headings. */
  readonly tables: Readonly<Record<string, ReportTable>>;
  readonly picture?: PackedPicture;
  /** The text of both tokenizer.json, where a text is shown both ways. */
  readonly tokenizers?: { readonly source: string; readonly target: string };
}

const renderFacts = (facts: ReportData['facts']): Html =>
  html`<dl class="facts">${facts.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;

/** The page. `script` is the bundle of live/report.ts. */
export function reportPage(data: ReportData, script: string): string {
  const { title, lead, facts, tables, provenance, curves, plan, sample } = data;
  const names = seriesNames(curves);
  const headingOf = ({ section = 'Learning curves' }: CurvePlot) => section;
  const headings = [...new Set(curves.map(headingOf))];
  const groups = headings.map(heading => curves.filter(plot => headingOf(plot) === heading));
  const plots = groups.flat().map(plot => viewPlot(plot, names));
  const picture = plan && viewPlan(plan.plan, plan.source, plan.target);
  const sections: Section[] = [];
  const add = (id: string, heading: string, content: Html) => sections.push({ id, title: heading, content });
  if (tables.length > 0) add('results', 'Results', html`${tables.map((table, i) => renderTable(table, `table-${i}`))}`);
  groups.forEach((group, i) => {
    const first = groups.slice(0, i).flat().length;
    add(`curves-${i}`, headings[i], renderCurves(group, plots.slice(first, first + group.length), first));
  });
  if (plan && picture) {
    add('plan', 'The plan', html`${renderPicture(picture)}${renderRowStatistics(plan.plan)}`);
    add('translations', 'Clearest translations', renderExplanations(plan.plan, plan.source, plan.target));
  }
  if (sample) add('tokens', 'One text, both ways', renderSample(sample.text, sample.source, sample.target));

  if (provenance) add('made', 'How it was made', renderTable(provenance, 'table-made'));

  const payload: ReportPayload = {
    plots,
    tables: {
      ...Object.fromEntries(tables.map((table, i) => [`table-${i}`, table])),
      ...(provenance && { 'table-made': provenance }),
    },
    picture: picture && packPicture(picture),
    tokenizers: sample && { source: tokenizerToJson(sample.source), target: tokenizerToJson(sample.target) },
  };
  const live = sections.length > 0;
  // Nothing is fetched, and no script or style runs but these two.
  const policy = [
    "default-src 'none'",
    'img-src data:',
    `script-src ${live ? hash(script) : "'none'"}`,
    `style-src ${hash(reportStyle)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const page: Content = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${new Html(reportStyle)}</style>
</head>
<body>
<header>
<p class="kicker">Sparse Sinkhorn Token Translation</p>
<h1>${title}</h1>
<p class="lead">${lead}</p>
<nav aria-label="Sections">${sections.map(s => html`<a href="#${s.id}">${s.title}</a>`)}</nav>
${facts.length > 0 ? renderFacts(facts) : ''}
</header>
<main id="main">${sections.map(
    s => html`
<section aria-labelledby="${s.id}"><h2 id="${s.id}">${s.title}</h2>
${s.content}
</section>`,
  )}
</main>
${new Html(complete)}
${
  live
    ? html`<script type="application/json" id="data">${json(payload)}</script>
<script>${new Html(script)}</script>`
    : ''
}
</body>
</html>
`;
  return page.text;
}
