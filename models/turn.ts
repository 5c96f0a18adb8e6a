/** Gives the host a turn between two pieces of work, so that signals, messages and redraws are handled. */

/** Resolves on the host's next turn: `setImmediate` where it exists, a message to oneself in a browser. */
export const nextTurn = (): Promise<void> =>
  new Promise(resolve => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
