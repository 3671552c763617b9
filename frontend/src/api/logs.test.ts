import { expect, test } from "vitest";
import { LogBuffer, type LogRange, LogTail } from "./logs";
import type { Logs } from "./types";

/** A server that holds `text` and answers at most `most` bytes at once (one byte a character here). */
function serverWith(log: { text: string; ended: boolean }, most = 1_000_000) {
  const asked: LogRange[] = [];
  const read = async (range: LogRange): Promise<Logs> => {
    asked.push(range);
    const offset = range.tail_bytes ? Math.max(0, log.text.length - range.tail_bytes) : (range.offset ?? 0);
    const next_offset = Math.min(log.text.length, offset + Math.min(range.limit_bytes ?? most, most));
    const text = log.text.slice(offset, next_offset);
    return {
      attempt: 1,
      replica: 0,
      offset,
      next_offset,
      size: log.text.length,
      ended: log.ended,
      text,
      replicas: [],
    };
  };
  return { read, asked };
}

test("lines come together whatever the chunks are", () => {
  const text = "one\ntwo\n\nthree\nfour";
  for (let size = 1; size <= text.length; size += 1) {
    const buffer = new LogBuffer();
    for (let at = 0; at < text.length; at += size) {
      buffer.append(text.slice(at, at + size), at, Math.min(text.length, at + size));
    }
    expect(buffer.lines).toEqual(["one", "two", "", "three", "four"]);
    expect([buffer.start, buffer.end]).toEqual([0, text.length]);
  }
});

test("the ring keeps the newest lines and knows where they begin", () => {
  const buffer = new LogBuffer(10);
  let offset = 0;
  for (let line = 0; line < 100; line += 1) {
    const text = `line ${line}\n`;
    buffer.append(text, offset, offset + text.length);
    offset += text.length;
  }
  expect(buffer.lines).toHaveLength(10);
  expect(buffer.lines[0]).toBe("line 90");
  expect(buffer.start).toBe("line 0\n".length * 10 + "line 10\n".length * 80);
  expect(buffer.prepend("line 89\n", buffer.start - 8, buffer.start)).toBe(false);
});

test("earlier text joins the cut first line", () => {
  const buffer = new LogBuffer();
  buffer.append("lo\nworld\n", 6, 15);
  expect(buffer.prepend("one\nhel", 0, 6)).toBe(true);
  expect(buffer.lines).toEqual(["one", "hello", "world"]);
  expect(buffer.start).toBe(0);
  expect(buffer.prepend("again\n", 0, 6)).toBe(false);
});

test("a chunk that does not follow replaces what was held", () => {
  const buffer = new LogBuffer();
  buffer.append("one\n", 0, 4);
  buffer.append("nine\n", 90, 95);
  expect(buffer.lines).toEqual(["nine"]);
  expect(buffer.start).toBe(90);
});

test("a tail begins at the end, resumes by offset and loses nothing", async () => {
  const log = { text: "a\n".repeat(100_000), ended: false };
  const { read, asked } = serverWith(log);
  const tail = new LogTail(read);
  await tail.pump();
  expect(tail.buffer.start).toBeGreaterThan(0);
  log.text += "b\n";
  await tail.pump();
  expect(asked.at(-1)?.offset).toBe(200_000);
  expect(tail.buffer.lines.at(-1)).toBe("b");
  while (await tail.earlier());
  expect(tail.buffer.start).toBe(0);
  expect(`${tail.buffer.lines.join("\n")}\n`).toBe(log.text);
});

test("a burst larger than one answer is read to its end", async () => {
  const log = { text: "start\n", ended: false };
  const { read, asked } = serverWith(log, 10);
  const tail = new LogTail(read);
  await tail.pump();
  log.text += "0123456789".repeat(5);
  log.ended = true;
  await tail.pump();
  expect(tail.buffer.end).toBe(log.text.length);
  expect(tail.ended).toBe(true);
  expect(asked).toHaveLength(1 + 5);
});

test("a failed read is told and the next one goes on where it stopped", async () => {
  const log = { text: "one\n", ended: false };
  const { read } = serverWith(log);
  let broken = false;
  const tail = new LogTail((range) => (broken ? Promise.reject(new Error("away")) : read(range)));
  await tail.pump();
  broken = true;
  log.text += "two\n";
  await tail.pump();
  expect(tail.error).toBeInstanceOf(Error);
  broken = false;
  await tail.pump();
  expect(tail.error).toBeNull();
  expect(tail.buffer.lines).toEqual(["one", "two"]);
});
