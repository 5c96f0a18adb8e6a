/** The workspace of kernels: where it lies after blocks have moved, and after there was no room for it. */
import { describe, expect, test } from 'vitest';
import { OutOfMemory } from '../../../engine/wasm/allocator.ts';
import { heapStart, Machine, type WasmStorage } from '../../../engine/wasm/machine.ts';

const threads = 2;
const kibi = 1024;

/** A machine over memory that holds blocks of 1 MiB at most, whose kernels fill all of their workspace. */
function machineWithKernels() {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
  /** The place of the workspace in each run. */
  const places: number[] = [];
  const machine = new Machine(memory, 2 ** 20, {
    threads,
    run(_kernel, _args, _split, work, stride) {
      places.push(work);
      machine.floats(work, (threads * stride) / 4).fill(Number.NaN);
    },
    close() {},
  });
  const run = (bytes: number) => machine.run('any', [], { items: 1, grain: 1 }, bytes);
  return { machine, places, run };
}

const filled = (machine: Machine, kibibytes: number, value: number): WasmStorage => {
  const x = machine.allocate('float32', kibibytes * (kibi / 4));
  machine.view(x).fill(value);
  return x;
};
const holds = (machine: Machine, x: WasmStorage, value: number): boolean => machine.read(x).every(v => v === value);

describe('the workspace of kernels', () => {
  test('moves with the blocks: kernels write over no tensor that has come to where it was', () => {
    const { machine, places, run } = machineWithKernels();
    const first = filled(machine, 128, 1);
    run(128 * kibi);
    const second = filled(machine, 128, 2);
    machine.free(first);
    // Free are 160 KiB before the workspace and 368 behind the second tensor.
    const large = machine.compacting(() => filled(machine, 440, 3));
    run(128 * kibi);
    expect(places).toHaveLength(2);
    expect(places[1]).toBeLessThan(places[0]);
    expect([holds(machine, second, 2), holds(machine, large, 3)]).toEqual([true, true]);
    // It is still a block of the allocator's, which a larger one can replace.
    machine.free(large);
    run(200 * kibi);
    expect(places).toHaveLength(3);
    expect(holds(machine, second, 2)).toBe(true);
  });

  test('that found no room is made again for the next kernel, however small', () => {
    const { machine, places, run } = machineWithKernels();
    run(kibi);
    const blocks: WasmStorage[] = [];
    expect(() => {
      for (;;) blocks.push(filled(machine, 64, blocks.length));
    }).toThrow(OutOfMemory);
    expect(() => run(64 * kibi)).toThrow(OutOfMemory);
    run(64);
    expect(places).toHaveLength(2);
    expect(places[1]).toBeGreaterThanOrEqual(heapStart);
    expect(blocks.every((x, i) => holds(machine, x, i))).toBe(true);
  });
});
