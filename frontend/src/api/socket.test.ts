import { beforeEach, expect, test } from "vitest";
import { FakeSocket } from "../testing/sockets";
import { type Hint, LiveSocket, readHint } from "./socket";

let now = 0;
let later: { at: number; action: () => void }[] = [];

function aSocket(): LiveSocket {
  return new LiveSocket({
    open: () => new FakeSocket("", false) as unknown as WebSocket,
    now: () => now,
    later: (action, delay_ms) => later.push({ at: now + delay_ms, action }),
  });
}

function pass(ms: number): void {
  now += ms;
  const due = later.filter(({ at }) => at <= now);
  later = later.filter(({ at }) => at > now);
  for (const { action } of due) action();
}

const newest = () => FakeSocket.open.at(-1)!;
const hint = (seq: number, topic = "cluster"): Hint => ({ seq, topic, id: "x", version: 1, kind: "node" });

beforeEach(() => {
  now = 0;
  later = [];
  FakeSocket.open.length = 0;
});

test("topics are subscribed once, and given back with the last listener", () => {
  const socket = aSocket();
  socket.start();
  newest().accept();
  const first = socket.subscribe("cluster", () => {});
  const second = socket.subscribe("cluster", () => {});
  first();
  expect(newest().sent).toEqual([{ subscribe: ["cluster"] }]);
  second();
  expect(newest().sent.at(-1)).toEqual({ unsubscribe: ["cluster"] });
});

test("a missing message tells of a gap, a complete row of messages does not", () => {
  const socket = aSocket();
  let gaps = 0;
  const heard: number[] = [];
  socket.onGap(() => {
    gaps += 1;
  });
  socket.subscribe("cluster", ({ seq }) => heard.push(seq));
  socket.start();
  newest().accept();
  newest().deliver(hint(1));
  newest().deliver(hint(2));
  expect(gaps).toBe(0);
  newest().deliver(hint(4));
  expect(gaps).toBe(1);
  expect(heard).toEqual([1, 2, 4]);
});

test("after a break it reconnects, subscribes again and tells of a gap", () => {
  const socket = aSocket();
  let gaps = 0;
  socket.onGap(() => {
    gaps += 1;
  });
  socket.subscribe("job:1", () => {});
  socket.start();
  newest().accept();
  expect(gaps).toBe(0);
  now = 100;
  newest().close();
  expect(socket.getConnection()).toEqual({ state: "reconnecting", since: 100 });
  pass(500);
  newest().accept();
  expect(FakeSocket.open).toHaveLength(2);
  expect(newest().sent).toEqual([{ subscribe: ["job:1"] }]);
  expect(socket.getConnection().state).toBe("live");
  expect(gaps).toBe(1);
});

test("a socket that never opens counts as blocked, and is still tried again", () => {
  const socket = aSocket();
  socket.start();
  newest().close();
  pass(500);
  newest().close();
  pass(1000);
  expect(socket.getConnection().state).toBe("connecting");
  newest().close();
  expect(socket.getConnection().state).toBe("polling");
  pass(2000);
  newest().accept();
  expect(socket.getConnection().state).toBe("live");
});

test("a refused topic is asked for again while somebody listens", () => {
  const socket = aSocket();
  const stop = socket.subscribe("job:1", () => {});
  socket.start();
  newest().accept();
  newest().deliver({ ...hint(1, "job:1"), kind: "refused" });
  pass(15_000);
  expect(newest().sent).toEqual([{ subscribe: ["job:1"] }, { subscribe: ["job:1"] }]);
  newest().deliver({ ...hint(2, "job:1"), kind: "refused" });
  stop();
  pass(15_000);
  expect(newest().sent.filter((sent) => "subscribe" in (sent as object))).toHaveLength(2);
});

test("what is no hint is not taken for one", () => {
  expect(readHint("{")).toBeNull();
  expect(readHint('{"seq":"1","topic":"a","kind":"job"}')).toBeNull();
  expect(readHint("null")).toBeNull();
  expect(readHint('{"seq":1,"topic":"a","kind":"job"}')).toEqual({
    seq: 1,
    topic: "a",
    kind: "job",
    id: "",
    version: 0,
  });
});
