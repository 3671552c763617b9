/** `npm run mock`: the whole dashboard against a pretended platform, in the browser alone. */

import { serverOf } from "./server";
import { FakeSocket } from "./sockets";
import { BIG, SMALL, World } from "./world";

export function installMock(): void {
  const big = new URLSearchParams(location.search).get("world") === "big";
  const world = new World(big ? BIG : SMALL, Date.now());
  world.signedIn = location.pathname !== "/login";
  const tell = (hint: object) => {
    for (const socket of FakeSocket.open) socket.deliver(hint);
  };
  const answer = serverOf(world, tell);
  const real = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    const path = new URL(input instanceof Request ? input.url : String(input), location.origin).pathname;
    return path.startsWith("/api/") ? answer(input, init) : real(input, init);
  };
  const RealSocket = globalThis.WebSocket;
  globalThis.WebSocket = new Proxy(RealSocket, {
    construct: (target, [address, ...rest]: [string]) =>
      address.includes("/ws/v1") ? new FakeSocket(address) : Reflect.construct(target, [address, ...rest]),
  });
  setInterval(() => second(world, tell), 1000);
}

function second(world: World, tell: (hint: object) => void): void {
  world.tick();
  const use = Object.fromEntries(
    world.nodes.map((node) => [node.id, node.chips.map((chip) => chip.use_permille)]),
  );
  tell(world.hint("cluster", "chips", "", 0, { at: world.now, use }));
  for (const job of world.jobs.filter((one) => one.status === "running").slice(0, 20)) {
    const size = (world.logs.get(job.id) ?? "").length;
    tell(world.hint(`job:${job.id}`, "logs", job.id, job.version, { attempt: 1, replica: 0, size }));
  }
}
