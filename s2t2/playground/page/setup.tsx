/** What computes, and which model is adapted: in a fold, since both have a good default. */
import type { JSX } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import {
  backendNames,
  gpuNames,
  type BackendName,
  type BackendReport,
  type DroppedFile,
  type ModelSummary,
} from '../protocol.ts';
import { droppedFiles } from './dropped.ts';
import { DropZone, Problem, Section, Select, Slider } from './parts.tsx';
import { backend, choices, findOffers, isBusy, loadModel, model, offers, useBackend, type Loaded } from './state.ts';

const sizes = ({ name, family, parameters, vocabulary, context }: ModelSummary): string =>
  `${name}, ${family}, ${(parameters / 1e6).toFixed(1)} M parameters, ` +
  `${vocabulary.toLocaleString('en')} tokens, context ${context}`;

/** What a backend says of itself, without its name before it. */
const plainly = ({ description }: BackendReport): string => `${description.replace(/^\w+: /, '')}; passed its check`;
const ranBy = (report: BackendReport): string =>
  `Training, scoring and generation run on ${plainly(report)}. ` +
  `Tokenizers and the layer at the top run on the processor.`;

const titles: Readonly<Record<BackendName, string>> = { wasm: 'WebAssembly', webgpu: 'WebGPU', webgl2: 'WebGL2' };
const stateOf = (name: BackendName): Loaded<BackendReport> => (name === 'wasm' ? backend : offers[name]).value;

/** An option of the chooser: a backend of the graphics card is one once it has passed its check. */
function optionOf(name: BackendName) {
  if (name === 'wasm') return { value: name, text: titles[name] };
  const { value, busy, error } = stateOf(name);
  const why = value ? '' : busy ? ' (being checked)' : error === null ? ' (not checked yet)' : ' (not available)';
  const runs = backend.value.value?.choice.name === name; // as the link asked
  return { value: name, text: `${titles[name]}${runs ? '' : why}`, disabled: !value && !runs };
}

/** What became of the check of each backend of the graphics card. */
function Offers(): JSX.Element {
  const line = (name: (typeof gpuNames)[number]) => {
    const { value, busy, error } = stateOf(name);
    if (value) return `${plainly(value)}.`;
    if (busy) return 'being checked …';
    return error === null ? 'checked when this section is in view.' : `not available: ${error}.`;
  };
  return (
    <ul class="offers">
      {gpuNames.map(name => (
        <li key={name} data-backend={name}>
          <b>{titles[name]}:</b> {line(name)}
        </li>
      ))}
    </ul>
  );
}

/** Calls back once the element comes into view. */
function useInView(callback: () => void): { readonly current: HTMLDivElement | null } {
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      observer.disconnect();
      callback();
    });
    observer.observe(root.current!);
    return () => observer.disconnect();
  }, []);
  return root;
}

export function Setup(): JSX.Element {
  const { backend: name, plain, threads } = choices.value;
  const { value, busy, error } = backend.value;
  const folder = useId();
  const off = busy || isBusy.value;
  const source = model.value.value;
  const root = useInView(() => void findOffers());
  const take = (files: readonly DroppedFile[]) => {
    if (files.length > 0) void loadModel(files);
  };
  return (
    <Section
      id="setup"
      title="Machine and model"
      lead={
        <>
          Everything is computed here, by this browser. A backend is offered once it has passed a check against a plain
          implementation.
        </>
      }
    >
      <div class="controls" ref={root}>
        <Select<BackendName>
          label="Backend"
          value={name}
          disabled={off}
          options={backendNames.map(optionOf)}
          onChange={next => void useBackend({ backend: next })}
        />
        <Slider
          label="Threads at most"
          value={threads}
          min={0}
          max={8}
          disabled={off || name !== 'wasm'}
          show={n => (n === 0 ? 'all' : String(n))}
          onInput={n => void useBackend({ threads: n })}
        />
        <label class="check">
          <input
            type="checkbox"
            checked={plain}
            disabled={off || name !== 'wasm'}
            onChange={event => void useBackend({ plain: event.currentTarget.checked })}
          />
          plain instructions: the same bits on every machine
        </label>
      </div>
      <p class="status" role="status" id="backend">
        {busy ? 'Checking the backend …' : value ? ranBy(value) : ''}
        {crossOriginIsolated ? '' : ' This page shares no memory between threads: it is not cross-origin isolated.'}
      </p>
      <Problem>{error}</Problem>
      <Offers />
      <p class="status" role="status">
        {model.value.busy ? 'Loading the model …' : source ? `Source model: ${sizes(source)}.` : ''}
      </p>
      <DropZone id="model-drop" onDrop={dropped => (off ? undefined : void droppedFiles(dropped).then(take))}>
        <label for={folder}>
          A model of your own: drop its directory here, with config.json, tokenizer.json and model.safetensors, or
          choose it
        </label>
        <input
          id={folder}
          type="file"
          multiple
          disabled={off}
          ref={input => input?.setAttribute('webkitdirectory', '')}
          onChange={event =>
            take(
              Array.from(event.currentTarget.files ?? [], file => ({
                name: file.webkitRelativePath || file.name,
                file,
              })),
            )
          }
        />
      </DropZone>
      <Problem>{model.value.error}</Problem>
    </Section>
  );
}
