/** Live use of every chip, once a second, in plain arrays outside the query cache: 80,000 chips never become objects. */

import { useSyncExternalStore } from "react";
import type { Hint, LiveSocket } from "./socket";
import { live } from "./socket";

type Frame = { at: number; use: { [node: string]: (number | null)[] } };

export class LiveChips {
  /** When the newest frame was measured, in milliseconds since the epoch; 0 before the first. */
  at = 0;
  private readonly use = new Map<string, (number | null)[]>();
  private readonly watchers = new Set<() => void>();
  private stop: (() => void) | null = null;

  constructor(private readonly socket: LiveSocket) {}

  /** Use per chip index of `node` in permille; undefined when nothing was heard of it yet. */
  of(node: string): (number | null)[] | undefined {
    return this.use.get(node);
  }

  /** Hear the frames while somebody watches. */
  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    this.stop ??= this.socket.subscribe("cluster", (hint) => this.receive(hint));
    return () => {
      this.watchers.delete(watcher);
      if (this.watchers.size > 0) return;
      this.stop?.();
      this.stop = null;
    };
  };

  getAt = (): number => this.at;

  receive(hint: Hint): void {
    const frame = hint.kind === "chips" ? readFrame(hint.data) : null;
    if (!frame) return;
    // Each web process sends the nodes it hears; their clocks need not agree to the millisecond.
    this.at = Math.max(this.at, frame.at);
    for (const [node, use] of Object.entries(frame.use)) this.use.set(node, use);
    for (const watcher of this.watchers) watcher();
  }
}

function readFrame(data: unknown): Frame | null {
  if (typeof data !== "object" || data === null) return null;
  const frame = data as Partial<Frame>;
  return typeof frame.at === "number" && typeof frame.use === "object" && frame.use ? (frame as Frame) : null;
}

export const liveChips = new LiveChips(live);

/** Renders again with each frame; the time of the newest, 0 before the first. */
export function useLiveChips(): number {
  return useSyncExternalStore(liveChips.watch, liveChips.getAt);
}
