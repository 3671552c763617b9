/** Collects hints and hands them on in batches: at once when asked to, else at most once in `interval_ms`. */

export type ThrottleWorld = {
  now: () => number;
  later: (action: () => void, delay_ms: number) => unknown;
};

export const browserTime: ThrottleWorld = {
  now: () => Date.now(),
  later: (action, delay_ms) => setTimeout(action, delay_ms),
};

/** Even urgent batches keep this distance: five hundred state changes a second are ten repaints, not five hundred. */
const URGENT_MS = 100;

export class Batches<T> {
  private waiting: T[] = [];
  private lastFlush = Number.NEGATIVE_INFINITY;
  private due = Number.POSITIVE_INFINITY;

  constructor(
    private readonly flushed: (batch: T[]) => void,
    private readonly interval_ms: number,
    private readonly world: ThrottleWorld = browserTime,
  ) {}

  /** Take `item` up. The first after a quiet time goes out at once; urgent ones wait at most a tenth of a second. */
  add(item: T, urgent = false): void {
    this.waiting.push(item);
    const now = this.world.now();
    const due = this.lastFlush + (urgent ? URGENT_MS : this.interval_ms);
    if (due <= now) {
      this.flush();
      return;
    }
    if (due >= this.due) return;
    this.due = due;
    this.world.later(() => this.due <= this.world.now() && this.flush(), due - now);
  }

  private flush(): void {
    this.due = Number.POSITIVE_INFINITY;
    this.lastFlush = this.world.now();
    const batch = this.waiting;
    this.waiting = [];
    if (batch.length > 0) this.flushed(batch);
  }
}
