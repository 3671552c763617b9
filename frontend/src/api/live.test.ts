import { QueryClient } from "@tanstack/react-query";
import { beforeEach, expect, test, vi } from "vitest";
import { World } from "../testing/world";
import { JobFeed, patched, refreshOnGap } from "./live";
import type { Hint, LiveSocket } from "./socket";
import type { Job } from "./types";
import { VersionGate } from "./versions";

const LIST = ["get", "/api/v1/jobs", { params: { query: {} } }, "pages"];
let now = 0;
let later: (() => void)[] = [];
const world = { now: () => now, later: (action: () => void) => later.push(action) };

function aPage() {
  const client = new QueryClient();
  const job = new World().jobs.find((one) => one.status === "running")!;
  client.setQueryData(LIST, { pages: [{ items: [job], next_cursor: null }], pageParams: [null] });
  const shown = () => (client.getQueryData(LIST) as { pages: { items: Job[] }[] }).pages[0]!.items[0]!;
  return { client, job, shown, feed: new JobFeed(client, world) };
}

function hint(job: Job, version: number, status: string): Hint {
  return { seq: 1, topic: "", kind: "job", id: job.id, version, data: { status } };
}

beforeEach(() => {
  now = 0;
  later = [];
});

test("a newer version changes the row that is shown", () => {
  const { feed, job, shown } = aPage();
  feed.receive(hint(job, job.version + 1, "failed"));
  expect(shown().status).toBe("failed");
});

test("an older version, and the same one twice, change nothing", () => {
  const { feed, job, shown } = aPage();
  feed.receive(hint(job, job.version, "failed"));
  expect(shown().status).toBe("running");
  now = 5000;
  feed.receive(hint(job, job.version + 2, "stopping"));
  now = 10_000;
  feed.receive(hint(job, job.version + 1, "failed"));
  feed.receive(hint(job, job.version + 2, "failed"));
  expect(shown().status).toBe("stopping");
});

test("state changes reach the page within a tenth of a second, in one batch", () => {
  const { feed, job, shown } = aPage();
  feed.receive(hint(job, job.version + 1, "stopping"));
  now = 10;
  feed.receive(hint(job, job.version + 2, "cancelling"));
  feed.receive(hint(job, job.version + 3, "cancelled"));
  expect(shown().status).toBe("stopping");
  now = 100;
  for (const action of later) action();
  expect(shown().status).toBe("cancelled");
});

test("counts are read again once for many moves in a second", () => {
  const { feed, job, client } = aPage();
  const invalidate = vi.spyOn(client, "invalidateQueries");
  for (let version = 1; version <= 20; version += 1) {
    now = version * 10;
    feed.receive(hint(job, job.version + version, version % 2 ? "running" : "stopping"));
    for (const action of later.splice(0)) action();
  }
  const counts = invalidate.mock.calls.filter(([filters]) =>
    JSON.stringify(filters?.queryKey).includes("counts"),
  );
  expect(counts).toHaveLength(1);
});

test("a gap makes everything shown stale and forgets the versions", () => {
  const { client, feed, job, shown } = aPage();
  let gap: () => void = () => {};
  const socket = {
    onGap: (listener: () => void) => {
      gap = listener;
      return () => {};
    },
  };
  refreshOnGap(socket as unknown as LiveSocket, client, feed);
  feed.receive(hint(job, job.version + 5, "stopping"));
  expect(client.getQueryState(LIST)?.isInvalidated).toBe(true);
  client.setQueryData(LIST, { pages: [{ items: [job], next_cursor: null }], pageParams: [null] });
  expect(client.getQueryState(LIST)?.isInvalidated).toBe(false);
  gap();
  expect(client.getQueryState(LIST)?.isInvalidated).toBe(true);
  now = 5000;
  feed.receive(hint(job, job.version + 1, "failed"));
  expect(shown().status).toBe("failed");
});

test("a status alone does not claim to be the whole new version", () => {
  const { job } = aPage();
  const changed = patched(job, { version: job.version + 1, change: { status: "failed" } });
  expect(changed.status).toBe("failed");
  expect(changed.version).toBe(job.version);
});

test("the gate remembers each object on its own", () => {
  const gate = new VersionGate();
  expect(gate.accepts("a", 2)).toBe(true);
  expect(gate.accepts("b", 1)).toBe(true);
  expect(gate.accepts("a", 2)).toBe(false);
  expect(gate.accepts("a", 3)).toBe(true);
});
