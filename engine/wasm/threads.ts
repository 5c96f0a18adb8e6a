/**
 * Threads of the program's host: worker_threads in Node, web workers elsewhere. Node's modules are looked up on
 * `process` at run time, so that nothing here imports from Node and a bundle works in a browser.
 */

/**
 * Starts a thread that runs `code`, the text of a function, on `data`, and gives the function that ends it. One that
 * cannot start does nothing; none keeps the process alive.
 */
export type StartThread = (code: string, data: unknown) => () => void;

/** What the host can give: processors, and a way to start threads, or why there is none. */
export interface ThreadHost {
  readonly processors: number;
  /** Null where there are no threads over shared memory. */
  readonly start: StartThread | null;
  /** For people: how many there are, or why none. */
  readonly why: string;
}

/** The parts of Node that are used. */
interface NodeThreads {
  readonly Worker: new (
    code: string,
    options: { eval: true; workerData: unknown },
  ) => { unref(): void; terminate(): unknown; on(event: 'error', listener: (error: Error) => void): void };
}
interface NodeProcess {
  getBuiltinModule(name: 'node:worker_threads'): NodeThreads;
  getBuiltinModule(name: 'node:os'): { availableParallelism(): number };
}

/** Looks for worker threads in Node and in browsers. */
export function threadHost(): ThreadHost {
  const { process } = globalThis as { process?: Partial<NodeProcess> };
  const node = process?.getBuiltinModule ? (process as NodeProcess) : null;
  const processors =
    node?.getBuiltinModule('node:os').availableParallelism() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
  const why = `${processors} processor${processors === 1 ? '' : 's'}`;
  if (typeof SharedArrayBuffer === 'undefined')
    return { processors, start: null, why: 'no shared memory here: in a page it needs cross-origin isolation' };
  if (node) return { processors, start: startNodeThread(node), why };
  if (typeof Worker === 'undefined') return { processors, start: null, why: 'no workers here' };
  return { processors, start: startWebWorker, why };
}

const startNodeThread =
  (node: NodeProcess): StartThread =>
  (code, data) => {
    const { Worker } = node.getBuiltinModule('node:worker_threads');
    const worker = new Worker(`(${code})(require('node:worker_threads').workerData)`, { eval: true, workerData: data });
    worker.on('error', () => {});
    worker.unref();
    return () => worker.terminate();
  };

/** A page's content policy may forbid workers made from text; they then fail to start. */
const startWebWorker: StartThread = (code, data) => {
  const script = new Blob([`onmessage = ({ data }) => (${code})(data);`], { type: 'text/javascript' });
  const url = URL.createObjectURL(script);
  const worker = new Worker(url);
  worker.onerror = event => event.preventDefault();
  worker.postMessage(data);
  return () => {
    worker.terminate();
    URL.revokeObjectURL(url);
  };
};
