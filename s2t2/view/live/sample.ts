/**
 * One text as tokens of two vocabularies: pointing at a token lights up what covers the same bytes on the other side.
 */
export function mountSample(root: HTMLElement): void {
  const light = (from: number, to: number) => {
    for (const t of root.querySelectorAll<HTMLElement>('.token'))
      t.classList.toggle('lit', Number(t.dataset.start) < to && Number(t.dataset.end) > from);
  };
  root.addEventListener('pointerover', event => {
    const token = (event.target as Element).closest<HTMLElement>('.token');
    light(Number(token?.dataset.start ?? 0), Number(token?.dataset.end ?? 0));
  });
  root.addEventListener('pointerleave', () => light(0, 0));
}
