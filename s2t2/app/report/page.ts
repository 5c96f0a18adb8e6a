/** report.html: one file that shows a run, and asks nothing of a network. */
import { createHash } from 'node:crypto';
import { renderCurves, seriesNames, viewPlot } from './chart.ts';
import { runCurves, runPicture, runSample } from './client.ts';
import type { CurvePlot, ReportData } from './data.ts';
import { Html, html, json, type Content } from './html.ts';
import { renderExplanations, renderPicture, viewPlan } from './picture.ts';
import { renderSample } from './sample.ts';
import { style } from './style.ts';
import { renderTable } from './table.ts';

interface Section {
  readonly id: string;
  readonly title: string;
  readonly content: Html;
}

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

export function renderReport({ title, lead, facts, tables, curves, plan, sample }: ReportData): string {
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
    add('plan', 'The plan', renderPicture(picture, plan.plan));
    add('translations', 'Most telling translations', renderExplanations(plan.plan, plan.source, plan.target));
  }
  if (sample) add('tokens', 'One text, both ways', renderSample(sample.text, sample.source, sample.target));

  const calls = [
    curves.length > 0 && `(${runCurves})(data.plots);`,
    picture && `(${runPicture})(data.picture);`,
    sample && `(${runSample})();`,
  ].filter(Boolean);
  const script =
    calls.length > 0
      ? `const data = JSON.parse(document.getElementById('data').textContent);\n${calls.join('\n')}`
      : '';
  // Nothing is fetched, and no script or style runs but these two.
  const policy = `default-src 'none'; img-src data:; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
  const page: Content = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<style>${new Html(style)}</style>
</head>
<body>
<header>
<p class="kicker">Sparse Sinkhorn Token Translation</p>
<h1>${title}</h1>
<p class="lead">${lead}</p>
<nav aria-label="Sections">${sections.map(s => html`<a href="#${s.id}">${s.title}</a>`)}</nav>
${facts.length > 0 ? html`<dl class="facts">${facts.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>` : ''}
</header>
<main>${sections.map(
    s => html`
<section aria-labelledby="${s.id}"><h2 id="${s.id}">${s.title}</h2>
${s.content}
</section>`,
  )}
</main>
${
  calls.length > 0
    ? html`<script type="application/json" id="data">${json({ plots, picture })}</script>
<script>${new Html(script)}</script>`
    : ''
}
</body>
</html>
`;
  return page.text;
}
