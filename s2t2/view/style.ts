/** The page's one style sheet. Colours are variables, so that light and dark differ in one place. */

/** Series colours there are: classes s0 on. */
export const colours = 8;

/** The style sheet of a report, light and dark. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fcfcfa;
  --raised: #fff;
  --ink: #1c2024;
  --muted: #5a636b;
  --line: #d9dcd8;
  --accent: #1558b0;
  --tint: #eaf1fb;
  --tint-2: #f1efe7;
  --mark: #c2410c;
  --ramp-low: #d3e0f3; --ramp-middle: #3f7fd0; --ramp-high: #0b1d45;
  --s0: #1558b0;
  --s1: #b04a08;
  --s2: #0b7350;
  --s3: #9a2b86;
  --s4: #756000;
  --s5: #0a7288;
  --s6: #a3303a;
  --s7: #5c5c5c;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a;
    --raised: #1b1f23;
    --ink: #e8e9e6;
    --muted: #a2abb3;
    --line: #343a40;
    --accent: #8ab8ff;
    --tint: #1d2b40;
    --tint-2: #26282a;
    --mark: #ff9d5c;
    --ramp-low: #1f3350; --ramp-middle: #4f8fdf; --ramp-high: #fff3d6;
    --s0: #7fb2ff;
    --s1: #ffab66;
    --s2: #5fd0a5;
    --s3: #f08adb;
    --s4: #d8c25a;
    --s5: #62cfe6;
    --s6: #f2978f;
    --s7: #b5b5b5;
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: break-word; }
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 0 clamp(1rem, 4vw, 2.5rem); }
header { padding-top: clamp(2rem, 6vw, 4.5rem); }
.kicker {
  margin: 0;
  color: var(--accent);
  font-size: .8125rem;
  font-weight: 600;
  letter-spacing: .06em;
  text-transform: uppercase;
}
h1 {
  margin: .35rem 0 .75rem;
  font-size: clamp(1.75rem, 1.2rem + 2.6vw, 2.75rem);
  line-height: 1.15;
  letter-spacing: -.02em;
  font-weight: 680;
  text-wrap: balance;
}
h2 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1.0625rem; line-height: 1.35; }
p { margin: 0 0 1rem; max-width: 68ch; }
.lead { font-size: 1.125rem; }
.note { color: var(--muted); font-size: .875rem; margin: .6rem 0 0; }
section { padding: clamp(1.75rem, 4vw, 2.75rem) 0; border-top: 1px solid var(--line); }
footer {
  padding-top: 1.25rem;
  padding-bottom: 3rem;
  color: var(--muted);
  font-size: .875rem;
  border-top: 1px solid var(--line);
}
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.unseen {
  position: absolute;
  width: 1px;
  height: 1px;
  margin: -1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1.25rem 0 1.5rem; font-size: .9375rem; }
nav a { padding: .25rem 0; text-underline-offset: .2em; text-decoration-thickness: 1px; }

.facts {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(50% - 1px, 14rem), 1fr));
  gap: 1px;
  margin: 1.5rem 0 clamp(1.75rem, 4vw, 2.75rem);
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: .5rem;
  overflow: hidden;
}
.facts div { outline: 1px solid var(--line); padding: .7rem .9rem; }
.facts dt { color: var(--muted); font-size: .8125rem; line-height: 1.3; }
.facts dd {
  margin: .15rem 0 0;
  font-size: 1.125rem;
  font-weight: 600;
  font-variant-numeric: tabular-nums;
  line-height: 1.3;
}

.scroll {
  position: relative;
  overflow-x: auto;
  border: 1px solid var(--line);
  border-radius: .5rem;
  background: var(--raised);
}
table {
  border-collapse: separate;
  border-spacing: 0;
  width: 100%;
  font-size: .9375rem;
  font-variant-numeric: tabular-nums;
  line-height: 1.35;
}
th, td { padding: .55rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--muted); font-size: .8125rem; font-weight: 600; vertical-align: bottom; }
thead th.number { white-space: normal; }
th.name { position: sticky; left: 0; background: var(--raised); white-space: nowrap; z-index: 1; }
tbody th { font-weight: 500; }
.number { text-align: right; white-space: nowrap; }
.number.interval { text-align: left; min-width: 10.5rem; }
.range { color: var(--muted); font-size: .8125rem; margin-left: .35rem; }
.axis { display: flex; justify-content: space-between; font-weight: 400; font-size: .75rem; margin-top: .2rem; }
svg.interval { display: block; width: 100%; height: 10px; margin-top: .25rem; overflow: visible; }
svg.interval line { stroke: var(--accent); stroke-width: 2; }
svg.interval .track { stroke: var(--line); stroke-width: 1; }
svg.interval circle { fill: var(--accent); }
.emphasis > * , .emphasis > th.name { background: var(--tint); }
.emphasis > th.name { box-shadow: inset 3px 0 var(--accent); }
.best > *, .best .value { font-weight: 700; }
.best > th.name::after { content: " · best"; color: var(--accent); font-weight: 600; }
.none { color: var(--muted); }

.legend { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 .75rem; }
button, select, input {
  font: inherit;
  font-size: .875rem;
  color: var(--ink);
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: .375rem;
  padding: .3rem .6rem;
  min-height: 2.25rem;
}
button { cursor: pointer; min-width: 2.5rem; }
button:hover { border-color: var(--muted); }
.legend button {
  display: inline-flex;
  align-items: center;
  gap: .45rem;
  border-radius: 2rem;
  padding: .2rem .8rem .2rem .6rem;
}
.legend [aria-pressed=false] { color: var(--muted); text-decoration: line-through; background: none; }
.legend [aria-pressed=false] svg { opacity: .3; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem 1.75rem; }
.plot { margin: 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .9375rem; margin-bottom: .25rem; }
.area { position: relative; padding: 1.75rem .75rem 2.75rem 3rem; touch-action: pan-y; }
.chart { display: block; width: 100%; height: 16rem; overflow: visible; }
.chart.low { height: 10rem; }
.chart text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); stroke-width: 1; }
.base, .tick { stroke: var(--muted); stroke-width: 1; }
.hair { stroke: var(--muted); stroke-dasharray: 2 2; pointer-events: none; }
.series { fill: none; stroke: var(--c); stroke-width: 1.75; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
.series.strong { stroke-width: 3; }
.dots { fill: none; stroke: var(--c); stroke-width: 7; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.band { fill: var(--c); opacity: .16; }
.marks path { fill: none; stroke-linecap: round; vector-effect: non-scaling-stroke; }
.marks .bar-line { stroke: var(--c); stroke-width: 1.5; }
.marks .ring { stroke: var(--c); stroke-width: 10; }
.marks .hole { stroke: var(--paper); stroke-width: 5; }
line.level { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 1 3; }
.chart text.level { fill: var(--muted); font-size: 11px; stroke: var(--paper); stroke-width: 3px; paint-order: stroke; }
.off { display: none; }
${Array.from({ length: colours }, (_, i) => `.s${i} { --c: var(--s${i}); }`).join(' ')}
.bin { fill: var(--accent); stroke: var(--paper); stroke-width: 1; }
line.mean { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 4 3; }
.chart text.mean { fill: var(--mark); stroke: var(--paper); stroke-width: 4px; paint-order: stroke; }
.readout {
  position: absolute;
  top: 1.75rem;
  z-index: 2;
  display: grid;
  gap: .1rem;
  min-width: 9rem;
  padding: .5rem .65rem;
  font-size: .8125rem;
  line-height: 1.35;
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: .375rem;
  box-shadow: 0 4px 16px #0003;
  font-variant-numeric: tabular-nums;
  pointer-events: none;
}
.readout[hidden] { display: none; }
.readout > span { display: flex; justify-content: space-between; gap: 1rem; }
.readout > span > :first-child { border-left: 3px solid var(--c); padding-left: .45rem; }

.token {
  font-family: var(--mono);
  font-size: .9em;
  background: var(--tint-2);
  border-radius: .2rem;
  padding: .08em .3em;
  white-space: nowrap;
  unicode-bidi: isolate;
}
.bar {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: .5rem .9rem;
  margin-bottom: .6rem;
  font-size: .875rem;
  color: var(--muted);
}
.group { display: inline-flex; }
.group button { border-radius: 0; margin-left: -1px; }
.group button:first-child { border-radius: .375rem 0 0 .375rem; margin-left: 0; }
.group button:last-child { border-radius: 0 .375rem .375rem 0; }
.ramp { display: inline-flex; align-items: center; gap: .4rem; margin-left: auto; font-variant-numeric: tabular-nums; }
.ramp > [aria-hidden] {
  width: 6rem;
  height: .65rem;
  border-radius: .2rem;
  background: linear-gradient(90deg, var(--ramp-low), var(--ramp-middle), var(--ramp-high));
}
canvas {
  display: block;
  width: 100%;
  height: min(34rem, 78vh);
  touch-action: pan-y;
  cursor: crosshair;
  border-radius: .25rem;
}
.detail {
  height: 7.25rem;
  overflow: hidden;
  margin-top: .75rem;
  padding: .7rem .9rem;
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: .5rem;
  font-size: .9375rem;
  font-variant-numeric: tabular-nums;
}
.detail p { margin: 0 0 .3rem; max-width: none; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.detail .row { color: var(--muted); }
.detail ol {
  display: flex;
  flex-wrap: wrap;
  gap: .3rem 1.1rem;
  margin: .35rem 0 0;
  padding: 0;
  list-style: none;
  height: 1.7rem;
  overflow: hidden;
}
.lit, .lit .token { background: var(--accent); color: var(--paper); }
.detail li.lit { background: none; color: inherit; }
.picture + .plots { margin-top: 2rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .5rem 2.5rem; }
.pair > div { min-width: 0; }
.tokens { line-height: 1.95; max-width: none; }
.tokens .token { padding: .16em .18em; margin-right: 2px; cursor: default; }
.tokens .token:nth-of-type(even) { background: var(--tint); }
.tokens .token.lit { background: var(--accent); }
.parts { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; white-space: nowrap; }
.translations td, .translations th { vertical-align: baseline; }
.hint { display: none; }
.tools { display: flex; gap: .4rem; margin: .4rem 0 0; }
.tools button {
  font-size: .8125rem;
  min-height: 1.75rem;
  min-width: 0;
  padding: .1rem .55rem;
  color: var(--muted);
  background: none;
}
.plot .tools { margin: -.5rem 0 0 3rem; }
.terms summary { cursor: pointer; font-size: .9375rem; padding: .4rem 0; }
.terms dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: .25rem 1rem;
  margin: .25rem 0 .75rem;
  font-size: .9375rem;
}
.terms dt { font-weight: 600; }
.terms dd { margin: 0; }
.own { display: grid; gap: .25rem; color: var(--muted); font-size: .875rem; }
textarea {
  font: .875rem/1.5 var(--mono);
  color: var(--ink);
  background: var(--raised);
  border: 1px solid var(--line);
  border-radius: .375rem;
  padding: .5rem .6rem;
  width: 100%;
  resize: vertical;
}
@media (max-width: 40rem) {
  .hint { display: block; margin: 0 0 .4rem; }
  th, td { padding: .5rem .65rem; }
  .ramp { margin-left: 0; }
  canvas { height: 26rem; }
  .detail { height: 11.5rem; }
  .detail .row { white-space: normal; }
  .detail ol { height: 3.7rem; }
  .translations th, .translations td { padding: .5rem .4rem; }
  .parts { flex-direction: column; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  .bar, .legend, .tools, .own, nav { display: none; }
  .scroll { overflow: visible; }
  section { break-inside: avoid; }
}
`;
