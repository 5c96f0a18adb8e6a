/**
 * Tensors that wait outside the backend's memory and are brought there when an operation reads them: weights that do
 * not change, of which a step needs one layer at a time. They may wait in a smaller form, as the 16 bits of a
 * checkpoint, and are widened on the way in; nothing has to be read back, since nobody writes into a tensor.
 *
 * A 32-bit WebAssembly memory ends at 4 GiB; this is how a model with more weights than that computes in it. It is not
 * for parameters: one that learns gets its own values with its first update, and those stay.
 */
import type { Backend, Storage, TypedArray } from './backend.ts';
import { bytesPerElement, type Shape } from './backend.ts';
import { checkShape, sizeOf } from './shape.ts';
import { account, getBackend, Tensor, type Buffer } from './tensor.ts';

/** Values outside: a function that writes every one of them into an array. */
export type Waiting = (to: Float32Array) => void;

/** Where a parked tensor comes to when it is read, and whether it learns. */
export interface ParkedOptions {
  readonly backend?: Backend;
  readonly requiresGrad?: boolean;
}

/**
 * The most parked tensors that a kernel reads (attention reads three). That many, the ones read last, keep their place
 * in the backend, since the operation that asked for them may be about to run.
 */
const mostRead = 4;

/** A place for tensors that wait outside, with a limit to how many bytes of them are inside at once. */
export class Parking {
  /** Bytes that parked tensors may take in the backend; it is exceeded where the last `mostRead` need more. */
  readonly residentBytes: number;
  /** In the backend now, the one read longest ago first. */
  private readonly residents = new Set<ParkedBuffer>();
  private bytes = 0;

  constructor(residentBytes = Infinity) {
    this.residentBytes = residentBytes;
  }

  /** A float32 tensor whose values wait. */
  park(values: Waiting, shape: Shape, { backend = getBackend(), requiresGrad = false }: ParkedOptions = {}): Tensor {
    checkShape('park', shape);
    return new Tensor(new ParkedBuffer(this, backend, sizeOf(shape), values), [...shape], null, requiresGrad);
  }

  /** @internal Moves a buffer to the end of the queue; a new one first gets room. */
  touch(buffer: ParkedBuffer): void {
    if (!this.residents.delete(buffer)) {
      let spare = this.residents.size - (mostRead - 1);
      for (const oldest of this.residents) {
        if (spare-- <= 0 || this.bytes + buffer.bytes <= this.residentBytes) break;
        oldest.evict();
      }
      this.bytes += buffer.bytes;
    }
    this.residents.add(buffer);
  }

  /** @internal */
  forget(buffer: ParkedBuffer): void {
    if (this.residents.delete(buffer)) this.bytes -= buffer.bytes;
  }
}

class ParkedBuffer implements Buffer {
  readonly backend: Backend;
  readonly dtype = 'float32';
  readonly size: number;
  references = 1;
  private readonly parking: Parking;
  private readonly values: Waiting;
  private resident: Storage | null = null;

  constructor(parking: Parking, backend: Backend, size: number, values: Waiting) {
    [this.parking, this.backend, this.size, this.values] = [parking, backend, size, values];
  }

  get bytes(): number {
    return this.size * bytesPerElement[this.dtype];
  }

  storage(): Storage {
    this.parking.touch(this);
    if (this.resident !== null) return this.resident;
    try {
      this.resident = this.backend.place?.(this.size, this.values) ?? this.backend.upload(this.read());
    } catch (error) {
      this.parking.forget(this);
      throw error;
    }
    account(this.bytes);
    return this.resident;
  }

  read(): TypedArray {
    const copy = new Float32Array(this.size);
    this.values(copy);
    return copy;
  }

  evict(): void {
    if (this.resident === null) return;
    this.parking.forget(this);
    this.backend.free(this.resident);
    this.resident = null;
    account(-this.bytes);
  }

  free(): void {
    this.evict();
  }
}
