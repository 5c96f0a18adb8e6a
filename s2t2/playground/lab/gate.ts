/** A gate that training passes after every step: open, shut, or open for one step. */
export interface Gate {
  /** Waits while the gate is shut; an abort opens it. */
  pass(signal: AbortSignal): Promise<void>;
  open(): void;
  shut(): void;
  /** Lets one step pass. */
  step(): void;
}

/** A gate that work passes step by step: open, paused, or one step at a time. */
export function createGate(): Gate {
  let [isOpen, steps] = [true, 0];
  let wake = () => {};
  return {
    async pass(signal) {
      while (!isOpen && !signal.aborted) {
        if (steps > 0) {
          steps--;
          return;
        }
        await new Promise<void>(resolve => {
          wake = resolve;
          signal.addEventListener('abort', wake, { once: true });
        });
        signal.removeEventListener('abort', wake);
      }
    },
    open() {
      isOpen = true;
      wake();
    },
    shut() {
      isOpen = false;
    },
    step() {
      isOpen = false;
      steps++;
      wake();
    },
  };
}
