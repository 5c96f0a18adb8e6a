/** What the device may do to a program, and a program to the device. */
import { expect, test } from 'vitest';
import { add, full, embedding, matmul, openBackend, scope, sum, tensor, zeros } from '../../../engine/index.ts';
import { openGpuBackend } from '../../../engine/gpu/open.ts';
import { gpuForTests } from './support.ts';

const { describeGpu, gpu } = await gpuForTests();

const backend = gpu;

describeGpu('the device', { shuffle: false }, () => {
  test('kernels ran in the mode asked for', () => {
    expect(gpu.mode).toBe('webgpu');
    expect(gpu.describe()).toMatch(/^gpu: gpu\.js in mode webgpu on \S.*, float32, no fallback$/);
  });

  test('reads come in the order of the program, and a freed tensor lives until its last use', async () => {
    const x = tensor([1, 2, 3], { backend });
    const before = x.data();
    const y = add(x, 1);
    x.dispose();
    const z = matmul(
      tensor([[1, 1, 1]], { backend }),
      tensor(y.dtype === 'float32' ? [[2], [3], [4]] : [], { backend }),
    );
    expect([...(await before)]).toEqual([1, 2, 3]);
    expect([...(await y.data())]).toEqual([2, 3, 4]);
    expect(await z.item()).toBe(9);
    [y, z].forEach(t => t.dispose());
  });

  test('loops go past the thousand steps at which gpu.js stops by default', async () => {
    const n = 5003;
    const total = scope(() => matmul(full([1, n], 1, { backend }), full([n, 1], 1, { backend })));
    expect(await total.item()).toBe(n);
    total.dispose();
  });

  test('empty in, empty out', async () => {
    const y = scope(() => [
      sum(zeros([0, 3], { backend }), 0),
      matmul(zeros([2, 0], { backend }), zeros([0, 2], { backend })),
      add(zeros([0], { backend }), 1),
    ]);
    expect(await Promise.all(y.map(async t => [...(await t.data())]))).toEqual([[0, 0, 0], [0, 0, 0, 0], []]);
    y.forEach(t => t.dispose());
  });

  test('argmax and topk read the device, whose places index it again', async () => {
    const x = tensor(
      [
        [3, 1, 3],
        [-1, 5, 2],
      ],
      { backend, requiresGrad: true },
    );
    expect(() => x.argmax(1)).toThrow("argmax: backend 'gpu' reads asynchronously; use await x.argmaxAsync(…)");
    const [most, least, top] = [await x.argmaxAsync(1), await x.argminAsync(), await x.topkAsync(2, 1)];
    expect([...(await most.data())]).toEqual([0, 1]);
    expect(await least.item()).toBe(3);
    expect([...(await top.values.data())]).toEqual([3, 3, 5, 2]);
    expect([...(await top.indices.data())]).toEqual([0, 2, 1, 2]);
    scope(() => top.values.sum().backward());
    expect([...(await x.grad!.data())]).toEqual([1, 0, 1, 0, 1, 1]);
  });

  test('an index out of range is an error at once', () => {
    scope(() => {
      const table = zeros([3, 2], { backend });
      expect(() => embedding(tensor(Int32Array.of(0, 3), { backend }), table)).toThrow(
        new RangeError('embedding: index 3 at position 1 is outside [0, 3)'),
      );
    });
  });

  test('a tensor longer than the largest index is an error that says so', () => {
    scope(() => {
      const row = zeros([1, 1 << 16], { backend });
      expect(() => matmul(row, row, { transposeA: true })).toThrow(
        /^gpu: a tensor of 4294967296 elements, where mode 'webgpu' has at most 1073741824/,
      );
    });
  });

  // These two come last: gpu.js shares one device among all backends of a process.
  test('a closed backend fails every read, and a new one finds a new device', async () => {
    const x = tensor([1, 2], { backend });
    expect([...(await x.data())]).toEqual([1, 2]);
    gpu.close!();
    await expect(x.data()).rejects.toThrow('gpu: the backend was closed');
    await expect(add(x, x).data()).rejects.toThrow('gpu: the backend was closed');
    const again = await openGpuBackend('webgpu');
    expect(await scope(() => sum(tensor([1, 2], { backend: again }))).item()).toBe(3);
    again.close!();
  });

  test('a lost device fails every read, pending and later', async () => {
    let device: GPUDevice | null = null;
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      device = await request.call(this, descriptor);
      return device;
    };
    try {
      const lost = await openGpuBackend('webgpu');
      const x = tensor([1, 2], { backend: lost });
      expect([...(await x.data())]).toEqual([1, 2]);
      device!.destroy();
      const reads = [x.data(), add(x, 1).data()];
      for (const read of await Promise.allSettled(reads)) expect(read.status).toBe('rejected');
      await expect(add(x, x).data()).rejects.toThrow(/lost|destroyed/i);
      await expect(x.data()).rejects.toThrow(/lost|destroyed/i);
    } finally {
      GPUAdapter.prototype.requestDevice = request;
    }
  });
});

test('without a device the error says what was probed and what to install', async () => {
  // WebGL2 needs a canvas, which Node does not have.
  const message = String(await openGpuBackend('webgl2').catch((error: Error) => error.message));
  const [head, ...lines] = message.split('\n');
  expect(head).toBe("backend 'gpu' does not work here. Probed:");
  expect(lines).toEqual([
    '  package gpu.js: found',
    expect.stringMatching(/^ {2}adapter \(mode webgl2\): ./),
    expect.stringMatching(/^Install what is missing: npm install gpu\.js@/),
  ]);
});

test('the same kernels run without a device in gpu.js’s other modes, and say so', async () => {
  for (const mode of ['webasm', 'cpu'] as const) {
    const other = await openGpuBackend(mode);
    expect(other.describe()).toContain(`in mode ${mode} on the processor`);
    const y = scope(() =>
      matmul(
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { backend: other },
        ),
        tensor(
          [
            [5, 6],
            [7, 8],
          ],
          { backend: other },
        ),
        { transposeB: true },
      ),
    );
    expect([...(await y.data())]).toEqual([17, 23, 39, 53]);
    y.dispose();
    other.close!();
  }
});

test('auto is never a GPU', async () => {
  expect((await openBackend('auto')).name).toBe('wasm');
});
