/**
 * Blocks of one linear memory.
 *
 * Blocks come in size classes, so that a training loop, which asks for the same sizes over and over, finds every block
 * on a list: four classes to an octave for small blocks, of which at most a fifth is unused, and multiples of 64 KiB
 * for large ones. Beyond the lists memory is handed out from its end. Before the end moves by a large block, and when
 * it has reached the limit, free neighbours are joined and split again. Where that is not enough, blocks can be moved
 * together (`compact`): at the limit, and, if the caller asks for it, before gaps take more than a part of the memory.
 *
 * A block has `slack` bytes more than were requested: kernels read and write whole vectors at ragged ends.
 */
const alignment = 64;
const slack = 32;

/** Grows the memory to hold `bytes`; false if it cannot. */
type Grow = (bytes: number) => boolean;

interface Region {
  start: number;
  bytes: number;
}

/** A block that gets another place, further to the front. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** No block of the requested size is left. */
export class OutOfMemory extends Error {
  override readonly name = 'OutOfMemory';
  /** Bytes. */
  readonly requested: number;
  readonly used: number;
  readonly limit: number;

  constructor(message: string, { requested, used, limit }: Pick<OutOfMemory, 'requested' | 'used' | 'limit'>) {
    super(message);
    [this.requested, this.used, this.limit] = [requested, used, limit];
  }
}

/** Large blocks are few, and what they leave unused is much. */
const large = 2 ** 20;
const step = 2 ** 16;

/** The smallest class of at least `bytes`: (4 + j) 2^k for j = 0…3, a multiple of the alignment; of `step` if large. */
export function classOf(bytes: number): number {
  if (bytes > large) return Math.ceil(bytes / step) * step;
  const least = Math.max(bytes, alignment);
  const quarter = 2 ** Math.max(Math.floor(Math.log2(least)) - 2, 0);
  return Math.ceil((Math.ceil(least / quarter) * quarter) / alignment) * alignment;
}

/** Gaps may take this share of the most that was in use; what is smaller than `roomy` is not worth moving blocks. */
const gaps = 1 / 8;
const roomy = 2 ** 28;

/** Hands out and takes back blocks of one memory. */
export class Allocator {
  private readonly start: number;
  private readonly limit: number;
  private readonly grow: Grow;
  private readonly free_ = new Map<number, number[]>();
  private live = new Map<number, number>();
  /** Free memory of no class, by address; made by joining neighbours. */
  private regions: Region[] = [];
  private end: number;
  private liveBytes = 0;
  private mostLive = 0;
  private mostEnd = 0;
  /** Whether a request that would spread blocks too far is out of memory, so that the caller moves them together. */
  thrifty = false;
  /** Whether a block was freed since neighbours were joined. */
  private loose = false;

  constructor(start: number, limit: number, grow: Grow) {
    this.start = Math.ceil(start / alignment) * alignment;
    this.end = this.start;
    this.limit = limit;
    this.grow = grow;
  }

  /** Bytes in blocks that are in use. */
  get used(): number {
    return this.liveBytes;
  }

  /** The farthest that memory was handed out. */
  get most(): number {
    return this.mostEnd;
  }

  allocate(bytes: number): number {
    const size = classOf(bytes + slack);
    const pointer =
      this.free_.get(size)?.pop() ??
      this.fromRegions(size) ??
      (size > large ? this.fromJoined(size) : this.fromEnd(size)) ??
      this.fromEnd(size) ??
      this.fromJoined(size);
    if (pointer === undefined) {
      throw new OutOfMemory(
        `out of memory: ${bytes} bytes requested, ${this.liveBytes} of ${this.limit} in use and the ` +
          `largest block that would fit is ${this.largest()}; free tensors sooner, or raise memoryLimit`,
        { requested: bytes, used: this.liveBytes, limit: this.limit },
      );
    }
    this.live.set(pointer, size);
    this.liveBytes += size;
    this.mostLive = Math.max(this.mostLive, this.liveBytes);
    return pointer;
  }

  free(pointer: number): void {
    const size = this.live.get(pointer);
    if (size === undefined) throw new Error(`free: no block starts at ${pointer}; was it freed before?`);
    this.live.delete(pointer);
    this.liveBytes -= size;
    this.loose = true;
    const list = this.free_.get(size);
    if (list) list.push(pointer);
    else this.free_.set(size, [pointer]);
  }

  /** Whether so many bytes would fit if no free memory lay between blocks. */
  fitsCompacted(bytes: number): boolean {
    return this.start + this.liveBytes + classOf(bytes + slack) <= this.limit;
  }

  /**
   * Moves all blocks to the front, so that what is free lies in one piece behind them. The caller moves what is in
   * them, in this order.
   */
  compact(): Move[] {
    const moves: Move[] = [];
    const live = [...this.live].sort(([a], [b]) => a - b);
    this.live = new Map();
    this.end = this.start;
    for (const [from, bytes] of live) {
      if (from !== this.end) moves.push({ from, to: this.end, bytes });
      this.live.set(this.end, bytes);
      this.end += bytes;
    }
    this.free_.clear();
    this.regions = [];
    this.loose = false;
    return moves;
  }

  private fromEnd(size: number): number | undefined {
    if (this.end + size > this.limit || (this.thrifty && this.spreads(size))) return undefined;
    if (!this.grow(this.end + size)) return undefined;
    this.end += size;
    this.mostEnd = Math.max(this.mostEnd, this.end);
    return this.end - size;
  }

  /** Whether so many bytes more take memory that was never in use, and gaps are too large a share of it then. */
  private spreads(size: number): boolean {
    const taken = this.end + size - this.start;
    const most = Math.max(this.mostLive, this.liveBytes + size);
    return this.end + size > this.mostEnd && taken > roomy && taken > (1 + gaps) * most;
  }

  /** From the smallest region that is large enough. */
  private fromRegions(size: number): number | undefined {
    let best: Region | undefined;
    for (const region of this.regions) if (region.bytes >= size && !(best && best.bytes <= region.bytes)) best = region;
    if (!best) return undefined;
    best.start += size;
    best.bytes -= size;
    return best.start - size;
  }

  private fromJoined(size: number): number | undefined {
    if (!this.loose) return undefined;
    this.join();
    return this.fromRegions(size) ?? this.fromEnd(size);
  }

  /**
   * Turns all free blocks into regions, as large as they get; one that touches the end becomes part of what is beyond
   * it.
   */
  private join(): void {
    this.loose = false;
    const pieces = [...this.regions];
    for (const [bytes, starts] of this.free_) for (const start of starts) pieces.push({ start, bytes });
    this.free_.clear();
    this.regions = [];
    for (const piece of pieces.filter(p => p.bytes > 0).sort((a, b) => a.start - b.start)) {
      const last = this.regions.at(-1);
      if (last && last.start + last.bytes === piece.start) last.bytes += piece.bytes;
      else this.regions.push({ ...piece });
    }
    const last = this.regions.at(-1);
    if (last && last.start + last.bytes === this.end) {
      this.end = last.start;
      this.regions.pop();
    }
  }

  /** After `join`: the largest number of bytes that could be requested. */
  private largest(): number {
    const free = Math.max(this.limit - this.end, ...this.regions.map(r => r.bytes));
    // The largest class that fits, less the slack.
    const quarter = free > large ? step : 2 ** Math.max(Math.floor(Math.log2(Math.max(free, 1))) - 2, 0);
    return Math.max(Math.floor((Math.floor(free / quarter) * quarter) / alignment) * alignment - slack, 0);
  }
}
