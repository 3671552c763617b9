/** A log as the page holds it: a bounded window of lines on a byte stream that is read by offset. */

import type { Logs } from "./types";

/** Lines kept in the browser; the oldest chunks go first and can be loaded again. */
export const MAX_LINES = 100_000;
const TAIL_BYTES = 128 * 1024;
const STEP_BYTES = 512 * 1024;

type Chunk = { offset: number; lines: number };

export class LogBuffer {
  lines: string[] = [];
  /** The bytes held are [start, end) of the replica's log. */
  start = 0;
  end = 0;
  private chunks: Chunk[] = [];
  private open = false;

  constructor(private readonly maxLines = MAX_LINES) {}

  /** Add `text` that begins at `offset`; a chunk that does not continue the buffer replaces it. */
  append(text: string, offset: number, next: number): void {
    if (offset !== this.end || this.chunks.length === 0) this.reset(offset);
    if (next === offset) return;
    const parts = text.split("\n");
    const before = this.lines.length;
    if (this.open) this.lines[before - 1] += parts.shift() ?? "";
    this.open = !text.endsWith("\n");
    if (!this.open) parts.pop();
    for (const part of parts) this.lines.push(part);
    this.chunks.push({ offset, lines: this.lines.length - before });
    this.end = next;
    this.trim();
  }

  /** Put earlier `text` in front; it must end where the buffer starts. Nothing happens when the buffer is full. */
  prepend(text: string, offset: number, next: number): boolean {
    if (next !== this.start || this.lines.length >= this.maxLines) return false;
    const parts = text.split("\n");
    const rest = parts.pop() ?? "";
    if (this.lines.length > 0) this.lines[0] = rest + this.lines[0];
    else if (rest) parts.push(rest);
    const first = this.chunks[0];
    if (first) this.chunks.unshift({ offset, lines: parts.length });
    this.lines = parts.concat(this.lines);
    this.start = offset;
    return true;
  }

  private reset(offset: number): void {
    this.lines = [];
    this.chunks = [];
    this.open = false;
    this.start = offset;
    this.end = offset;
  }

  private trim(): void {
    while (this.lines.length > this.maxLines && this.chunks.length > 1) {
      const gone = this.chunks.shift();
      this.lines.splice(0, gone?.lines ?? 0);
      this.start = this.chunks[0]?.offset ?? this.start;
    }
  }
}

export type LogRange = { offset?: number; limit_bytes?: number; tail_bytes?: number };
export type LogReader = (range: LogRange) => Promise<Logs>;

export class LogTail {
  readonly buffer = new LogBuffer();
  ended = false;
  /** Bytes the server has, held or not. */
  size = 0;
  error: unknown = null;
  loaded = false;
  private version = 0;
  private pumping: Promise<void> | null = null;
  private again = false;
  private closed = false;
  private readonly watchers = new Set<() => void>();

  constructor(private readonly read: LogReader) {}

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  getVersion = (): number => this.version;

  /** Read what is new, from the last offset held; the first call reads the end of the log. One read at a time. */
  pump(): Promise<void> {
    if (this.pumping) {
      this.again = true;
      return this.pumping;
    }
    this.pumping = this.readAll().finally(() => {
      this.pumping = null;
    });
    return this.pumping;
  }

  /** Read the stretch before the first line held; false when there is none or no room. */
  async earlier(): Promise<boolean> {
    const { start } = this.buffer;
    if (start === 0) return false;
    const offset = Math.max(0, start - STEP_BYTES);
    const logs = await this.read({ offset, limit_bytes: start - offset });
    const taken = this.buffer.prepend(logs.text, logs.offset, logs.next_offset);
    this.changed();
    return taken;
  }

  close(): void {
    this.closed = true;
  }

  private async readAll(): Promise<void> {
    do {
      this.again = false;
      try {
        const logs = await this.read(
          this.loaded ? { offset: this.buffer.end, limit_bytes: STEP_BYTES } : { tail_bytes: TAIL_BYTES },
        );
        if (this.closed) return;
        this.take(logs);
        this.again ||= logs.next_offset < logs.size && logs.next_offset > logs.offset;
      } catch (error) {
        this.error = error;
        this.changed();
        return;
      }
    } while (this.again);
  }

  private take(logs: Logs): void {
    this.buffer.append(logs.text, logs.offset, logs.next_offset);
    this.size = logs.size;
    this.ended = logs.ended && logs.next_offset >= logs.size;
    this.loaded = true;
    this.error = null;
    this.changed();
  }

  private changed(): void {
    this.version += 1;
    for (const watcher of this.watchers) watcher();
  }
}
