/**
 * The live example: a small network learns a curve while the visitor bends it. All of its mathematics is the engine's:
 * `grad` of the loss with respect to the weights, and AdamW.
 */
import { grad, noGrad, Random, scope, tensor, type Backend, type Tensor } from '../../../engine/index.ts';
import { AdamW } from '../../../models/adamw.ts';
import { element } from './dom.ts';

const points = 64;
const hidden = 24;
/** From −1 to 1: (points, 1). */
const xs = Float32Array.from({ length: points }, (_, i) => -1 + (2 * i) / (points - 1));
/** Milliseconds of a frame that go to training. */
const budget = 6;

interface Network {
  readonly weights: Readonly<Record<string, Tensor>>;
  readonly optimizer: AdamW;
}

/** Steep, shifted first units, so that the network can bend anywhere between −1 and 1. */
function makeNetwork(backend: Backend, seed: number): Network {
  const random = new Random(seed);
  const normal = (shape: number[], scale: number) =>
    tensor(
      new Float32Array(shape.reduce((a, b) => a * b)).map(() => scale * random.normal()),
      { shape, backend, requiresGrad: true },
    );
  const weights = {
    w1: normal([1, hidden], 5),
    b1: normal([hidden], 3),
    w2: normal([hidden, hidden], hidden ** -0.5),
    b2: normal([hidden], 0.1),
    w3: normal([hidden, 1], hidden ** -0.5),
    b3: normal([1], 0.1),
  };
  return { weights, optimizer: new AdamW(weights, { weightDecay: 0 }) };
}

/** x (points, 1) → (points, 1). */
function predict({ w1, b1, w2, b2, w3, b3 }: Network['weights'], x: Tensor): Tensor {
  const h1 = x.matmul(w1).add(b1).tanh(); // (points, hidden)
  const h2 = h1.matmul(w2).add(b2).tanh(); // (points, hidden)
  return h2.matmul(w3).add(b3);
}

const svg = (name: string, attributes: Record<string, string | number>): SVGElement => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
};

/** From the values' plane, x in [−1, 1] and y in [−1.3, 1.3], to the picture's 600 × 260. */
const px = (x: number): string => (300 + 285 * x).toFixed(1);
const py = (y: number): string => (130 - 100 * Math.min(Math.max(y, -1.3), 1.3)).toFixed(1);
const path = (ys: ArrayLike<number>): string =>
  Array.from(ys, (y, i) => `${i === 0 ? 'M' : 'L'}${px(xs[i])} ${py(y)}`).join('');

/** The decades of a gradient's norm that a bar shows. */
const [least, most] = [-4, 2];
const decades = (norm: number): number => Math.min(Math.max((Math.log10(norm) - least) / (most - least), 0), 1);

export interface Example {
  /** Stops and continues it, whatever the visitor chose: measurements want the machine for themselves. */
  hold(on: boolean): void;
}

export function startExample(backend: Backend): Example {
  const [frequency, learning] = [element<HTMLInputElement>('frequency'), element<HTMLInputElement>('learning')];
  const [pause, picture] = [element<HTMLButtonElement>('pause'), element('fit')];
  // Round ends of a line without length are dots that stay round whatever the picture's proportions.
  const [target, model] = [svg('path', { class: 'target' }), svg('path', { class: 'model' })];
  picture.append(svg('path', { class: 'axis', d: 'M0 130H600' }), target, model);

  let network = makeNetwork(backend, 1);
  const bars = Object.keys(network.weights).map(name => {
    const [label, track, bar, value] = [
      document.createElement('span'),
      document.createElement('div'),
      document.createElement('div'),
      document.createElement('output'),
    ];
    label.textContent = name;
    track.className = 'track';
    track.append(bar);
    element('gradients').append(label, track, value);
    return { bar, value };
  });

  const x = tensor(xs, { shape: [points, 1], backend });
  let curve: Float32Array<ArrayBuffer>;
  const bend = () => {
    const waves = Number(frequency.value);
    curve = xs.map(v => Math.sin(Math.PI * waves * v));
    target.setAttribute('d', Array.from(curve, (y, i) => `M${px(xs[i])} ${py(y)}h0`).join(''));
    element('frequency-value').textContent = waves.toFixed(2);
    element('learning-value').textContent = (10 ** Number(learning.value)).toPrecision(2);
  };

  /** One update of the weights; the loss, the prediction before it and the norms of the gradients. */
  const step = () =>
    scope(() => {
      const { weights, optimizer } = network;
      const prediction = predict(weights, x);
      const loss = prediction
        .sub(tensor(curve, { shape: [points, 1], backend }))
        .square()
        .mean();
      const gradients = grad(loss, Object.values(weights));
      const norms = noGrad(() => gradients.map(g => g.square().sum().sqrt().dataSync()[0]));
      optimizer.update(gradients, 10 ** Number(learning.value)); // which frees the gradients
      return { loss: loss.dataSync()[0], prediction: prediction.dataSync(), norms };
    });

  let [paused, held, running] = [false, false, false];
  let [count, since] = [0, performance.now()];
  const frame = () => {
    running = !paused && !held;
    if (!running) return;
    const end = performance.now() + budget;
    let state = step();
    for (count++; performance.now() < end; count++) state = step();
    model.setAttribute('d', path(state.prediction));
    element('loss').textContent = state.loss.toExponential(2);
    state.norms.forEach((norm, i) => {
      bars[i].bar.style.width = `${100 * decades(norm)}%`;
      bars[i].value.textContent = norm.toExponential(0);
    });
    const elapsed = performance.now() - since;
    if (elapsed > 500) {
      element('rate').textContent = Math.round((1000 * count) / elapsed).toLocaleString('en');
      [count, since] = [0, performance.now()];
    }
    requestAnimationFrame(frame);
  };
  const resume = () => {
    if (running || paused || held) return;
    running = true;
    [count, since] = [0, performance.now()];
    requestAnimationFrame(frame);
  };

  for (const input of [frequency, learning]) input.addEventListener('input', bend);
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.textContent = paused ? 'Continue' : 'Pause';
    resume();
  });
  let seed = 1;
  element('restart').addEventListener('click', () => {
    network.optimizer.dispose();
    Object.values(network.weights).forEach(w => w.dispose());
    network = makeNetwork(backend, ++seed);
  });
  bend();
  resume();
  return {
    hold(on) {
      held = on;
      resume();
    },
  };
}
