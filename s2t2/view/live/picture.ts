/**
 * The picture of the plan at work: draws what is in view, moves it with pointer, wheel and keys, and takes a new plan
 * at any time. Its markup is `renderPicture`'s.
 */
import type { PictureView } from '../picture.ts';

/** The picture of a plan in a page. */
export interface Picture {
  /** Shows another plan. Of the same size, it is seen from the same place. */
  update(view: PictureView): void;
  /** Ends what it listens to outside its own elements. */
  dispose(): void;
}

/** Makes the picture of a plan in `root` answer to pointer and keyboard. */
export function mountPicture(root: HTMLElement, first: PictureView): Picture {
  const canvas = root.querySelector('canvas')!;
  const context = canvas.getContext('2d')!;
  const find = root.querySelector<HTMLInputElement>('[data-find]')!;
  const order = root.querySelector<HTMLSelectElement>('[data-order]')!;
  const full = 65535;
  const percentage = (p: number) => `${(100 * p).toPrecision(3)}%`;

  let view = first;
  let { pointers, entries: columns, values } = view;
  let [u, v] = [view.rows.length, view.columns.length];
  const probability = (entry: number) => (values[entry] / full) * view.largest;
  /** Of every row: entries by falling mass, and entropy in bits. */
  let falling: readonly Uint32Array[] = [];
  let entropy: readonly number[] = [];
  const load = () => {
    ({ pointers, entries: columns, values } = view);
    [u, v] = [view.rows.length, view.columns.length];
    falling = Array.from({ length: u }, (_, i) =>
      Uint32Array.from({ length: pointers[i + 1] - pointers[i] }, (_, e) => pointers[i] + e).sort(
        (a, b) => values[b] - values[a],
      ),
    );
    entropy = falling.map(entries => entries.reduce((bits, e) => bits - probability(e) * Math.log2(probability(e)), 0));
  };
  const keys: Record<string, (row: number) => number> = {
    id: row => row,
    main: row => (falling[row].length > 0 ? columns[falling[row][0]] : v),
    entropy: row => entropy[row],
    support: row => falling[row].length,
  };
  /** Rows from top to bottom. */
  let shown: number[] = [];

  // The view: `zoom` 0 fits the whole plan, 1 gives a cell its largest size; `left` and `top` are the cells at the
  // corner.
  const gutter = { left: 78, top: 72 };
  const largestCell = 20;
  let [width, height, zoom, left, top] = [0, 0, 0, 0, 0];
  /** The cell that is named: a row among `shown` and a column; −1 is none. */
  let cursor = { row: -1, column: -1 };
  const fitX = () => (width - gutter.left) / v;
  const fitY = () => (height - gutter.top) / u;
  const scale = (fit: number) => fit * (Math.max(largestCell, fit) / fit) ** zoom;
  /** Pixels a column, and pixels a row. */
  const scaleX = () => scale(fitX());
  const scaleY = () => scale(fitY());
  /** What to add to `zoom` so that cells grow by a factor. */
  const zoomBy = (factor: number) => Math.log(factor) / Math.log(Math.max(2, largestCell / Math.min(fitX(), fitY())));
  const clamp = () => {
    left = Math.max(0, Math.min(v - (width - gutter.left) / scaleX(), left));
    top = Math.max(0, Math.min(u - (height - gutter.top) / scaleY(), top));
    // At its whole size the picture lets a finger scroll the page.
    canvas.style.touchAction = zoom > 0 ? 'none' : 'pan-y';
  };

  let ramp = new Uint8ClampedArray(0);
  const readColours = () => {
    const styles = getComputedStyle(root);
    const strip = new OffscreenCanvas(256, 1).getContext('2d')!;
    const gradient = strip.createLinearGradient(0, 0, 256, 0);
    ['--ramp-low', '--ramp-middle', '--ramp-high'].forEach((name, i) =>
      gradient.addColorStop(i / 2, styles.getPropertyValue(name).trim()),
    );
    strip.fillStyle = gradient;
    strip.fillRect(0, 0, 256, 1);
    ramp = strip.getImageData(0, 0, 256, 1).data;
  };

  /** Cells, the largest value of those that share a pixel. */
  const drawCells = (ratio: number) => {
    const [w, h] = [Math.round((width - gutter.left) * ratio), Math.round((height - gutter.top) * ratio)];
    const pixels = new Uint16Array(w * h);
    const [sx, sy] = [scaleX() * ratio, scaleY() * ratio];
    const gap = sx > 6 && sy > 6 ? 1 : 0;
    for (let r = Math.floor(top); r < Math.min(u, top + h / sy); r++) {
      const y0 = Math.max(0, Math.round((r - top) * sy));
      const y1 = Math.min(h, Math.max(y0 + 1, Math.round((r + 1 - top) * sy) - gap));
      const row = shown[r];
      for (let e = pointers[row]; e < pointers[row + 1]; e++) {
        const c = columns[e];
        const x0 = Math.max(0, Math.round((c - left) * sx));
        const x1 = Math.min(w, Math.max(x0 + 1, Math.round((c + 1 - left) * sx) - gap));
        if (c + 1 < left || x0 >= w) continue;
        for (let y = y0; y < y1; y++)
          for (let x = x0; x < x1; x++) if (pixels[y * w + x] < values[e]) pixels[y * w + x] = values[e];
      }
    }
    const image = new ImageData(w, h);
    for (let p = 0; p < pixels.length; p++) {
      if (pixels[p] === 0) continue;
      const shade = 4 * Math.round(255 * Math.sqrt(pixels[p] / full));
      for (let k = 0; k < 4; k++) image.data[4 * p + k] = ramp[shade + k];
    }
    context.putImageData(image, Math.round(gutter.left * ratio), Math.round(gutter.top * ratio));
  };

  const draw = () => {
    if (width === 0) return;
    const ratio = devicePixelRatio;
    const styles = getComputedStyle(root);
    const colour = (name: string) => styles.getPropertyValue(name).trim();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    drawCells(ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = `12px ${colour('--mono')}`;
    context.textBaseline = 'middle';
    const clip = (text: string, n: number) => {
      const all = [...text];
      return all.length > n ? `${all.slice(0, n - 1).join('')}…` : text;
    };
    const middle = {
      x: (c: number) => gutter.left + (c + 0.5 - left) * scaleX(),
      y: (r: number) => gutter.top + (r + 0.5 - top) * scaleY(),
    };

    // Names where there is room, each keeping clear of the cell that is pointed at.
    const nameRow = (r: number) => {
      context.textAlign = 'right';
      context.fillText(clip(view.rows[shown[r]], 9), gutter.left - 8, middle.y(r));
    };
    const nameColumn = (c: number) => {
      const upright = [...view.columns[c]].length === 1;
      context.save();
      context.translate(middle.x(c), gutter.top - (upright ? 13 : 8));
      if (!upright) context.rotate(-Math.PI / 2);
      context.textAlign = upright ? 'center' : 'left';
      context.fillText(clip(view.columns[c], 8), 0, 0);
      context.restore();
    };
    context.fillStyle = colour('--muted');
    const [stepX, stepY] = [Math.max(1, Math.ceil(15 / scaleX())), Math.max(1, Math.ceil(15 / scaleY()))];
    const [endX, endY] = [left + (width - gutter.left) / scaleX(), top + (height - gutter.top) / scaleY()];
    const [rowNamed, columnNamed] = [cursor.row >= 0, cursor.column >= 0];
    const near = (a: number, b: number) => Math.abs(a - b) < 14;
    for (let r = stepY * Math.ceil((top - 0.5) / stepY); r < Math.min(u, endY - 0.3); r += stepY)
      if (r >= 0 && !(rowNamed && near(middle.y(r), middle.y(cursor.row)))) nameRow(r);
    for (let c = stepX * Math.ceil((left - 0.5) / stepX); c < Math.min(v, endX - 0.3); c += stepX)
      if (c >= 0 && !(columnNamed && near(middle.x(c), middle.x(cursor.column)))) nameColumn(c);

    context.strokeStyle = colour('--line');
    context.strokeRect(gutter.left - 0.5, gutter.top - 0.5, width - gutter.left, height - gutter.top);
    if (!rowNamed) return;
    context.fillStyle = colour('--ink');
    context.strokeStyle = colour('--mark');
    const inside = {
      x: cursor.column >= left - 0.5 && cursor.column < endX,
      y: cursor.row >= top - 0.5 && cursor.row < endY,
    };
    context.beginPath();
    if (inside.y) {
      nameRow(cursor.row);
      context.moveTo(gutter.left - 6, middle.y(cursor.row));
      context.lineTo(gutter.left, middle.y(cursor.row));
    }
    if (inside.x) {
      nameColumn(cursor.column);
      context.moveTo(middle.x(cursor.column), gutter.top - 6);
      context.lineTo(middle.x(cursor.column), gutter.top);
    }
    if (inside.x && inside.y) {
      const [w, h] = [Math.max(9, scaleX() + 2), Math.max(9, scaleY() + 2)];
      context.rect(middle.x(cursor.column) - w / 2, middle.y(cursor.row) - h / 2, w, h);
    }
    context.lineWidth = 1.5;
    context.stroke();
    context.lineWidth = 1;
  };
  let pending = 0;
  const redraw = () => {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      draw();
    });
  };

  /** Names a cell: its probability, and what its row is made of. */
  const name = (row: number, column: number) => {
    if (cursor.row === row && cursor.column === column) return;
    cursor = { row, column };
    describe();
  };
  const describe = () => {
    const { row, column } = cursor;
    const i = shown[row];
    let entry = pointers[i];
    while (entry < pointers[i + 1] && columns[entry] < column) entry++;
    const p = entry < pointers[i + 1] && columns[entry] === column ? probability(entry) : 0;
    const token = (text: string) => {
      const span = document.createElement('span');
      span.className = 'token';
      span.textContent = text;
      return span;
    };
    const part = (selector: string, ...content: (string | Node)[]) =>
      root.querySelector(selector)!.replaceChildren(...content);
    part(
      '.detail .cell',
      'P(',
      token(view.columns[column]),
      ' | ',
      token(view.rows[i]),
      `) = ${p === 0 ? '0' : percentage(p)}`,
    );
    part(
      '.detail .row',
      token(view.rows[i]),
      ` is made of ${falling[i].length} source tokens, entropy ${entropy[i].toFixed(2)} bits, mostly`,
    );
    part(
      '.detail ol',
      ...[...falling[i].subarray(0, 8)].map(e => {
        const item = document.createElement('li');
        item.append(token(view.columns[columns[e]]), ` ${percentage(probability(e))}`);
        item.classList.toggle('lit', columns[e] === column);
        return item;
      }),
    );
    redraw();
  };
  /** Moves the view so that the named cell is in it. */
  const follow = () => {
    const [w, h] = [(width - gutter.left) / scaleX(), (height - gutter.top) / scaleY()];
    left = Math.min(cursor.column, Math.max(left, cursor.column + 1 - w));
    top = Math.min(cursor.row, Math.max(top, cursor.row + 1 - h));
    clamp();
    redraw();
  };
  /** The heaviest cell within a few pixels along the row that is pointed at. */
  const nameAt = (x: number, y: number) => {
    const row = Math.floor(top + (y - gutter.top) / scaleY());
    const column = left + (x - gutter.left) / scaleX();
    if (x < gutter.left || y < gutter.top || row >= u || column >= v) return;
    const reach = scaleX() < 4 ? 3 / scaleX() : 0;
    const i = shown[row];
    let best = -1;
    for (let e = pointers[i]; e < pointers[i + 1]; e++) {
      if (columns[e] + 1 > column - reach && columns[e] <= column + reach && (best < 0 || values[e] > values[best]))
        best = e;
    }
    name(row, best >= 0 && (reach > 0 || columns[best] === Math.floor(column)) ? columns[best] : Math.floor(column));
  };
  /** Changes the zoom and leaves the place under (x, y) where it is. */
  const zoomAt = (x: number, y: number, by: number) => {
    const [column, row] = [left + (x - gutter.left) / scaleX(), top + (y - gutter.top) / scaleY()];
    zoom = Math.min(1, Math.max(0, zoom + by));
    left = column - (x - gutter.left) / scaleX();
    top = row - (y - gutter.top) / scaleY();
    clamp();
    redraw();
  };
  const centre = () => {
    const inside = (at: number, from: number, to: number) => at > from && at < to;
    const [x, y] = [
      gutter.left + (cursor.column + 0.5 - left) * scaleX(),
      gutter.top + (cursor.row + 0.5 - top) * scaleY(),
    ];
    const named = cursor.row >= 0 && inside(x, gutter.left, width) && inside(y, gutter.top, height);
    return named ? ([x, y] as const) : ([(gutter.left + width) / 2, (gutter.top + height) / 2] as const);
  };
  const actions: Record<string, () => void> = {
    in: () => zoomAt(...centre(), zoomBy(2)),
    out: () => zoomAt(...centre(), zoomBy(1 / 2)),
    fit: () => zoomAt(gutter.left, gutter.top, -1),
  };
  for (const button of root.querySelectorAll<HTMLElement>('[data-action]'))
    button.addEventListener('click', actions[button.dataset.action!]);

  const sort = () => {
    const named = cursor.row >= 0 ? shown[cursor.row] : -1;
    const key = keys[order.value];
    shown = Array.from({ length: u }, (_, i) => i).sort((a, b) => key(a) - key(b) || a - b);
    if (named >= 0) {
      cursor.row = shown.indexOf(named);
      follow();
    } else redraw();
  };
  order.addEventListener('change', sort);

  find.addEventListener('input', () => {
    const i =
      view.rows.indexOf(find.value) >= 0 ? view.rows.indexOf(find.value) : view.rows.indexOf(find.value.toUpperCase());
    if (i < 0 || falling[i].length === 0) return;
    name(shown.indexOf(i), columns[falling[i][0]]);
    follow();
  });

  // Pointers that are down, by id: one moves the view, two zoom it.
  const down = new Map<number, { x: number; y: number }>();
  canvas.addEventListener('pointerdown', event => {
    down.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    canvas.setPointerCapture(event.pointerId);
    if (down.size === 1) nameAt(event.offsetX, event.offsetY);
  });
  canvas.addEventListener('pointermove', event => {
    const [x, y] = [event.offsetX, event.offsetY];
    const before = down.get(event.pointerId);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (!before || (zoom === 0 && !other)) {
      nameAt(x, y);
      return;
    }
    down.set(event.pointerId, { x, y });
    const share = other ? 0.5 : 1;
    left -= (share * (x - before.x)) / scaleX();
    top -= (share * (y - before.y)) / scaleY();
    if (other) {
      const distance = (p: { x: number; y: number }) => Math.hypot(p.x - other.x, p.y - other.y) || 1;
      zoomAt((x + other.x) / 2, (y + other.y) / 2, zoomBy(distance({ x, y }) / distance(before)));
    }
    clamp();
    redraw();
  });
  for (const type of ['pointerup', 'pointercancel'] as const)
    canvas.addEventListener(type, event => down.delete(event.pointerId));
  // The wheel scrolls the page unless the pointer has clicked here since it came; a pinch on a touchpad comes as a
  // wheel with Ctrl.
  let clicked = false;
  canvas.addEventListener('pointerdown', () => {
    clicked = true;
  });
  canvas.addEventListener('pointerleave', () => {
    clicked = false;
  });
  canvas.addEventListener(
    'wheel',
    event => {
      if (!clicked && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomAt(event.offsetX, event.offsetY, zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400))));
    },
    { passive: false },
  );
  canvas.addEventListener('dblclick', event => zoomAt(event.offsetX, event.offsetY, zoomBy(2)));
  canvas.addEventListener('keydown', event => {
    const near = (step: number) => {
      const i = shown[cursor.row];
      const support = [...columns.subarray(pointers[i], pointers[i + 1])];
      return (
        (step > 0 ? support.find(c => c > cursor.column) : support.findLast(c => c < cursor.column)) ?? cursor.column
      );
    };
    const toRow = (step: number) => {
      const row = Math.min(u - 1, Math.max(0, cursor.row + step));
      name(row, columns[falling[shown[row]][0]] ?? 0);
    };
    const moves: Record<string, () => void> = {
      ArrowDown: () => toRow(1),
      ArrowUp: () => toRow(-1),
      PageDown: () => toRow(20),
      PageUp: () => toRow(-20),
      Home: () => toRow(-u),
      End: () => toRow(u),
      ArrowRight: () => (cursor.row < 0 ? toRow(1) : name(cursor.row, near(1))),
      ArrowLeft: () => (cursor.row < 0 ? toRow(1) : name(cursor.row, near(-1))),
    };
    const zooms: Record<string, () => void> = { '+': actions.in, '=': actions.in, '-': actions.out, '0': actions.fit };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves || event.key in zooms)) return;
    event.preventDefault();
    if (event.key in zooms) {
      zooms[event.key]();
      return;
    }
    moves[event.key]();
    follow();
  });

  const resized = new ResizeObserver(() => {
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
    clamp();
    redraw();
  });
  resized.observe(canvas);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const recolour = () => {
    readColours();
    redraw();
  };
  dark.addEventListener('change', recolour);
  readColours();

  /** Takes over `view`: names, order, and something to begin with, the row that is the clearest. */
  const begin = () => {
    load();
    root.querySelector('datalist')!.replaceChildren(...view.rows.map(text => new Option(text)));
    root.querySelector('.ramp .most')!.textContent = percentage(view.largest);
    [zoom, left, top] = [0, 0, 0];
    cursor = { row: -1, column: -1 };
    sort();
    const clearest = entropy.indexOf(Math.min(...entropy));
    if (clearest >= 0) name(shown.indexOf(clearest), columns[falling[clearest][0]] ?? 0);
    clamp();
  };
  begin();

  return {
    update(next) {
      const same =
        next.rows.length === u && next.columns.length === v && next.rows.every((row, i) => row === view.rows[i]);
      view = next;
      if (!same) {
        begin();
        return;
      }
      load();
      root.querySelector('.ramp .most')!.textContent = percentage(view.largest);
      sort();
      if (cursor.row >= 0) describe();
    },
    dispose() {
      resized.disconnect();
      dark.removeEventListener('change', recolour);
      cancelAnimationFrame(pending);
    },
  };
}
