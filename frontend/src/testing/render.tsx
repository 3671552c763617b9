/** Shows a whole page of the dashboard in a test, at an address, against a pretended platform. */

import { createMemoryHistory, RouterProvider } from "@tanstack/react-router";
import { render } from "@testing-library/react";
import { vi } from "vitest";
import { JobFeed, refreshOnGap } from "../api/live";
import { live } from "../api/socket";
import { createClient, Providers } from "../app/providers";
import { createAppRouter } from "../app/router";
import { serverOf } from "./server";
import { FakeSocket } from "./sockets";
import { World } from "./world";

/** The page at `path`, its world, the requests it made and the way to tell it something. */
export function showPage(path: string, world = new World(), answer = serverOf(world)) {
  const requests: Request[] = [];
  vi.stubGlobal("fetch", (input: RequestInfo | URL, init?: RequestInit) => {
    requests.push(new Request(input instanceof Request ? input.clone() : input, init));
    return answer(input, init);
  });
  FakeSocket.open.length = 0;
  vi.stubGlobal("WebSocket", FakeSocket);
  live.stop();
  const client = createClient();
  const router = createAppRouter(client, createMemoryHistory({ initialEntries: [path] }));
  const feed = new JobFeed(client);
  refreshOnGap(live, client, feed);
  const page = render(
    <Providers client={client} feed={feed}>
      <RouterProvider router={router} />
    </Providers>,
  );
  const tell = (hint: object) => {
    for (const socket of FakeSocket.open) socket.deliver(hint);
  };
  return { ...page, world, router, requests, tell };
}
