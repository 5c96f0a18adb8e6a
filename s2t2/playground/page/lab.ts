/** The page's side of the conversation with its worker: every method of the lab as a promise, and its news. */
import type { Call, Lab, Message, RunEvent } from '../protocol.ts';

/** A mistake of the visitor's: one line that says what to do. Other errors are ours. */
export class Mistake extends Error {
  override readonly name = 'Mistake';
}

/** The worker's lab as an object of promises. */
export function connect(
  started: Promise<Worker>,
  onEvent: (event: RunEvent) => void,
  onCrash: (message: string) => void,
): Lab {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let last = 0;
  const receive = ({ data }: MessageEvent<Message>) => {
    if ('event' in data) return onEvent(data.event);
    const call = waiting.get(data.id)!;
    waiting.delete(data.id);
    if ('result' in data) call.resolve(data.result);
    else call.reject(new (data.mistake ? Mistake : Error)(data.error));
  };
  const crash = (event: ErrorEvent) => {
    const error = new Error(event.message || 'the worker stopped');
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    onCrash(error.message);
  };
  const listening = started.then(worker => {
    worker.onmessage = receive;
    worker.onerror = crash;
    return worker;
  });
  return new Proxy({} as Lab, {
    get:
      (_, method: keyof Lab) =>
      (...args: readonly unknown[]) =>
        new Promise((resolve, reject) => {
          waiting.set(++last, { resolve, reject });
          const call: Call = { id: last, method, args };
          void listening.then(worker => worker.postMessage(call));
        }),
  });
}
