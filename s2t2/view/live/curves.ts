/**
 * Plots at work: legend buttons, and a readout of all curves at the pointer or, by arrow keys, at a point. Listeners
 * sit on the root, so that plots inside may be drawn again at any time.
 */
import { place } from '../scale.ts';
import type { PlotView } from '../chart.ts';

/** `plots` gives the views of what is drawn now, by the number in `data-plot`. */
export function mountCurves(root: HTMLElement, plots: () => readonly PlotView[]): void {
  root.addEventListener('click', event => {
    const button = (event.target as Element).closest<HTMLElement>('.legend button');
    if (!button) return;
    const off = button.getAttribute('aria-pressed') === 'true';
    button.setAttribute('aria-pressed', String(!off));
    for (const path of (button.closest('section') ?? root).querySelectorAll(
      `.plots [data-series="${button.dataset.series}"]`,
    ))
      path.classList.toggle('off', off);
  });

  const areaOf = (event: Event): HTMLElement | null => (event.target as Element).closest<HTMLElement>('.plot .area');
  const viewOf = (area: HTMLElement): PlotView | undefined =>
    plots()[Number(area.closest<HTMLElement>('[data-plot]')?.dataset.plot)];
  const placesOf = (view: PlotView): number[] =>
    [...new Set(view.series.flatMap(s => s.points.filter((_, k) => k % 2 === 0)))].sort((a, b) => a - b);
  const nearest = (view: PlotView, places: readonly number[], fraction: number): number =>
    places.reduce(
      (best, value, k) =>
        Math.abs(place(view.x, value) - fraction) < Math.abs(place(view.x, places[best]) - fraction) ? k : best,
      0,
    );
  /** The area whose readout is open, and which of its places it shows. */
  let open: { readonly area: HTMLElement; readonly at: number } | null = null;
  const hide = () => {
    open?.area.querySelector<HTMLElement>('.readout')?.setAttribute('hidden', '');
    open?.area.querySelector('.hair')?.setAttribute('visibility', 'hidden');
    open = null;
  };
  const show = (area: HTMLElement, view: PlotView, places: readonly number[], at: number) => {
    if (open?.area !== area) hide();
    open = { area, at };
    readout(area, view, places[at]);
  };

  root.addEventListener('pointermove', event => {
    const area = areaOf(event);
    const view = area && viewOf(area);
    const places = view ? placesOf(view) : [];
    if (!area || !view || places.length === 0) return hide();
    const box = area.querySelector('.chart')!.getBoundingClientRect();
    show(area, view, places, nearest(view, places, (event.clientX - box.left) / box.width));
  });
  root.addEventListener('pointerleave', hide);
  root.addEventListener('focusout', hide);
  root.addEventListener('keydown', event => {
    const area = areaOf(event);
    const view = area && viewOf(area);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!area || !view || step === undefined) return;
    const places = placesOf(view);
    if (places.length === 0) return;
    event.preventDefault();
    const at = open?.area === area ? open.at : -1;
    show(area, view, places, Math.min(places.length - 1, Math.max(0, at + step)));
    const said = [...area.querySelector('.readout')!.children].map(c =>
      [...c.childNodes].map(n => n.textContent).join(' '),
    );
    area.setAttribute('aria-label', said.join(', '));
  });
}

/** Fills and places an area's readout: what every visible curve has within a twentieth of the axis of `value`. */
function readout(area: HTMLElement, { x, series }: PlotView, value: number): void {
  const rows = series
    .filter(s => s.points.length > 0 && !area.querySelector(`.off[data-series="${s.index}"]`))
    .map(s => {
      let best = 0;
      for (let k = 2; k < s.points.length; k += 2)
        if (Math.abs(place(x, s.points[k]) - place(x, value)) < Math.abs(place(x, s.points[best]) - place(x, value)))
          best = k;
      return { ...s, px: s.points[best], py: s.points[best + 1] };
    })
    .filter(r => Math.abs(place(x, r.px) - place(x, value)) < 0.05)
    .sort((a, b) => b.py - a.py);
  const chart = area.querySelector<SVGElement>('.chart')!;
  const hair = area.querySelector('.hair')!;
  const at = `${100 * place(x, value)}%`;
  hair.setAttribute('x1', at);
  hair.setAttribute('x2', at);
  hair.setAttribute('visibility', 'visible');
  const heading = document.createElement('b');
  heading.textContent = `${Number(value.toPrecision(4)).toLocaleString('en')} ${x.label}`;
  const box = area.querySelector<HTMLElement>('.readout')!;
  box.replaceChildren(
    heading,
    ...rows.map(r => {
      const line = document.createElement('span');
      line.className = `s${r.colour}`;
      const [name, number] = [document.createElement('span'), document.createElement('span')];
      name.textContent = r.name;
      number.textContent = r.py.toFixed(3);
      line.append(name, number);
      return line;
    }),
  );
  box.hidden = false;
  const [{ width, left: chartLeft }, inset] = [chart.getBoundingClientRect(), area.getBoundingClientRect().left];
  const left = place(x, value) * width;
  const fits = left + box.offsetWidth + 12 <= width;
  box.style.left = `${chartLeft - inset + (fits ? left + 12 : Math.max(0, left - box.offsetWidth - 12))}px`;
}
