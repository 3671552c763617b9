import { expect, test } from "vitest";
import type { JobDetail } from "../../api/types";
import { World } from "../../testing/world";
import { pieces } from "./download";
import { phasesOf, total } from "./phases";
import { markAdded } from "./specLines";
import { keepStill } from "./still";
import { tabOf } from "./tabs";

const at = (seconds: number) => new Date(seconds * 1000).toISOString();

function aJob(attempts: [number, number | null, number | null][], ended: number | null): JobDetail {
  const world = new World();
  const detail = world.detail(world.jobs[0]!);
  const first = detail.attempts[0]!;
  return {
    ...detail,
    submitted_at: at(0),
    ended_at: ended === null ? null : at(ended),
    attempts: attempts.map(([placed, running, over], index) => ({
      ...first,
      number: index + 1,
      placed_at: at(placed),
      running_at: running === null ? null : at(running),
      ended_at: over === null ? null : at(over),
    })),
  };
}

test("the phases of a job follow each other without gaps", () => {
  const phases = phasesOf(
    aJob(
      [
        [5, 6, 10],
        [20, 21, null],
      ],
      null,
    ),
    30_000,
  );
  expect(phases.map(({ kind, from, to }) => [kind, from / 1000, to / 1000])).toEqual([
    ["queued", 0, 5],
    ["starting", 5, 6],
    ["running", 6, 10],
    ["queued", 10, 20],
    ["starting", 20, 21],
    ["running", 21, 30],
  ]);
  expect(total(phases, "running")).toBe(13_000);
});

test("a job that never ran only waited, until it ended", () => {
  expect(phasesOf(aJob([], 7), 99_000)).toEqual([{ kind: "queued", from: 0, to: 7000, attempt: null }]);
});

test("rows stand still: content changes, newcomers above are counted, later pages come below", () => {
  const row = (id: string, n: number) => ({ id, n });
  const held = [row("a", 1), row("b", 1), row("c", 1)];
  const newest = [row("new", 2), row("a", 2), row("c", 2), row("d", 2)];
  expect(keepStill(held, newest)).toEqual({
    rows: [row("a", 2), row("b", 1), row("c", 2), row("d", 2)],
    added: 1,
    gone: ["b"],
  });
  expect(keepStill(held, held)).toEqual({ rows: held, added: 0, gone: [] });
  expect(keepStill(held, [row("x", 1)])).toEqual({ rows: held, added: 1, gone: ["a", "b", "c"] });
});

test("a filter is the tab it stands for", () => {
  expect(tabOf(undefined)).toBe("all");
  expect(tabOf("held,queued")).toBe("queued");
  expect(tabOf("running")).toBe("running");
  expect(tabOf("held")).toBe("");
});

test("what the platform added to a spec is marked, line by line", () => {
  const lines = markAdded("name: a\nlist:\n  - x\n", "name: a\nlist:\n  - x\n  - x\npriority: 50\n");
  expect(lines.filter(({ added }) => added).map(({ line }) => line)).toEqual(["  - x", "priority: 50"]);
});

test("a download holds the whole log and ends even if the server says nothing new", async () => {
  const text = "x".repeat(2_500_000);
  const read = async (offset: number, limit: number) => {
    const next_offset = Math.min(text.length, offset + limit);
    return {
      attempt: 1,
      replica: 0,
      offset,
      next_offset,
      size: text.length,
      ended: true,
      text: text.slice(offset, next_offset),
      replicas: [],
    };
  };
  expect((await pieces(read)).join("")).toBe(text);
  const stuck = async (offset: number) => ({
    attempt: 1,
    replica: 0,
    offset,
    next_offset: offset,
    size: 99,
    ended: false,
    text: "",
    replicas: [],
  });
  expect(await pieces(stuck)).toEqual([""]);
});
