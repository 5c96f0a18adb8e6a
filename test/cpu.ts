/**
 * Milliseconds of processor time of this process: unlike the time of day they do not grow where the machine has other
 * work.
 */
export const cpuTime = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
