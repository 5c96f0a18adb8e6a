/** The worker's entry: answers the page's calls with the lab's methods. */
import { UserError } from '../../../models/errors.ts';
import type { Call, Message } from '../protocol.ts';
import { createLab } from './lab.ts';

const port = globalThis as unknown as {
  postMessage(message: Message): void;
  onmessage: (event: MessageEvent<Call>) => void;
};
const lab = createLab(event => port.postMessage({ event }));

port.onmessage = ({ data: { id, method, args } }) => {
  const call = lab[method] as (...args: readonly unknown[]) => Promise<unknown>;
  call(...args).then(
    result => port.postMessage({ id, result }),
    (error: unknown) => {
      const mistake = error instanceof UserError;
      port.postMessage({ id, error: error instanceof Error ? error.message : String(error), mistake });
    },
  );
};
