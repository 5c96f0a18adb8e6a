/** What computes, and which model is adapted: in a fold, since both have a good default. */
import type { JSX } from 'preact';
import { useId } from 'preact/hooks';
import type { BackendName, ModelSummary } from '../protocol.ts';
import { Problem, Section, Select, Slider } from './parts.tsx';
import { backend, choices, isBusy, loadModel, model, useBackend } from './state.ts';

const sizes = ({ name, family, parameters, vocabulary, context }: ModelSummary): string =>
  `${name}, ${family}, ${(parameters / 1e6).toFixed(1)} M parameters, ` +
  `${vocabulary.toLocaleString('en')} tokens, context ${context}`;

export function Setup(): JSX.Element {
  const { backend: name, plain, threads } = choices.value;
  const { value, busy, error } = backend.value;
  const folder = useId();
  const off = busy || isBusy.value;
  const source = model.value.value;
  return (
    <Section
      id="setup"
      title="Machine and model"
      lead={
        <>
          Everything is computed here, by this browser. A backend is used once it has passed a check against a plain
          implementation.
        </>
      }
    >
      <div class="controls">
        <Select<BackendName>
          label="Backend"
          value={name}
          disabled={off}
          options={[
            ['wasm', 'WebAssembly'],
            ['webgpu', 'WebGPU'],
            ['webgl2', 'WebGL2'],
          ]}
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
        {busy ? 'Checking the backend …' : value ? `${value.description}; passed its check.` : ''}
        {crossOriginIsolated ? '' : ' This page shares no memory between threads: it is not cross-origin isolated.'}
      </p>
      <Problem>{error}</Problem>
      <p class="status" role="status">
        {model.value.busy ? 'Loading the model …' : source ? `Source model: ${sizes(source)}.` : ''}
      </p>
      <div class="field">
        <label for={folder}>
          A model of your own: the directory with config.json, tokenizer.json and model.safetensors
        </label>
        <input
          id={folder}
          type="file"
          multiple
          disabled={off}
          ref={input => input?.setAttribute('webkitdirectory', '')}
          onChange={event => {
            const files = [...(event.currentTarget.files ?? [])];
            if (files.length > 0)
              void loadModel(files.map(file => ({ name: file.webkitRelativePath || file.name, file })));
          }}
        />
      </div>
      <Problem>{model.value.error}</Problem>
    </Section>
  );
}
