/** What the server answers about webhooks. */

import type { Webhook } from "../api/types";
import { json } from "./answers";
import type { World } from "./world";

const BLANK = {
  description: "",
  team: null,
  on: true,
  off_because: "",
  failing_since: null,
  last_delivery: null,
};

/** Lists, makes, tries and deletes those of the world. */
export async function webhooks(world: World, request: Request, path: string): Promise<Response> {
  const found = world.webhooks.find(({ id }) => id === path.split("/")[2]);
  if (found && request.method === "DELETE") {
    world.webhooks = world.webhooks.filter((one) => one !== found);
    return json(null, 204);
  }
  if (found) {
    found.last_delivery = aDelivery();
    return json(found.last_delivery, 201);
  }
  if (request.method === "GET") return json({ items: world.webhooks, next_cursor: null });
  const sent = (await request.json()) as Pick<Webhook, "name" | "url" | "events">;
  const made = { ...BLANK, id: "hook-1", created_at: new Date().toISOString(), ...sent };
  world.webhooks = [...world.webhooks, made];
  return json({ ...made, secret: "whsec_secret" }, 201);
}

function aDelivery(): NonNullable<Webhook["last_delivery"]> {
  const at = new Date().toISOString();
  const told = {
    id: "msg-1",
    event: "ping",
    at,
    state: "delivered",
    tries: 1,
    last_at: at,
    next_at: null,
  } as const;
  return { ...told, status: 204, answer: "Answered 204.", data: {} };
}
