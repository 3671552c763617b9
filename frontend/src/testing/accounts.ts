/** What the server answers about one's account, terminals that wait, secrets and trust rules. */

import { json, problem } from "./answers";
import type { World } from "./world";

/** The answer, or null where the path is about something else. */
export async function ofAccount(world: World, request: Request, path: string): Promise<Response | null> {
  if (path === "/announcements") return json({ items: world.announcements });
  if (path.startsWith("/me/second-factor")) return factor(world, request, path);
  if (path.startsWith("/me/sessions")) return sessions(world, request, path);
  if (path.startsWith("/tokens")) return tokens(world, request, path);
  if (path.startsWith("/sign-ins")) return signIn(world, request, path);
  if (/^\/teams\/[^/]+\/secrets/.test(path)) return secrets(world, request, path);
  if (path.startsWith("/trust-rules")) return trust(world, request, path);
  if (path === "/service-accounts")
    return request.method === "POST" ? json({}, 201) : json({ items: [], next_cursor: null });
  return null;
}

async function factor(world: World, request: Request, path: string): Promise<Response> {
  if (request.method === "GET")
    return json({ active: world.factor === "on", has_password: true, recovery_codes_left: 10 });
  const sent = (await request.json()) as { password?: string; code?: string };
  if (sent.password !== undefined && sent.password !== "right")
    return problem(401, "unauthenticated", "The password is wrong.");
  if (sent.code !== undefined && sent.code !== "123456")
    return problem(403, "forbidden", "This is not a code of the authenticator.");
  if (path.endsWith("/confirm")) {
    world.factor = "on";
    return json({ recovery_codes: ["aaaa-bbbb-cccc-dddd", "eeee-ffff-gggg-hhhh"] });
  }
  if (path.endsWith("/remove")) {
    world.factor = "none";
    return json(null, 204);
  }
  world.factor = "begun";
  return json({ secret: "JBSWY3DPEHPK3PXP", uri: "otpauth://totp/Flexai:ana?secret=JBSWY3DPEHPK3PXP" }, 201);
}

function sessions(world: World, request: Request, path: string): Response {
  if (request.method === "DELETE")
    world.sessions = world.sessions.filter((one) => !path.endsWith(`/${one.id}`));
  if (request.method === "POST") world.sessions = world.sessions.filter((one) => one.is_this);
  return request.method === "DELETE" ? json(null, 204) : json({ items: world.sessions });
}

async function tokens(world: World, request: Request, path: string): Promise<Response> {
  if (request.method === "GET") return json({ items: world.tokens, next_cursor: null });
  if (request.method === "DELETE") {
    const id = path.split("/").at(-1);
    world.tokens = world.tokens.map((one) =>
      one.id === id ? { ...one, revoked_at: new Date(world.now).toISOString() } : one,
    );
    return json(null, 204);
  }
  const { name, scopes } = (await request.json()) as { name: string; scopes: string[] };
  const made = aToken(name, scopes);
  world.tokens = [made, ...world.tokens];
  return json({ ...made, token: "flx_secret" }, 201);
}

export function aToken(name: string, scopes = ["read", "write"]) {
  return {
    id: `tok-${name}`,
    name,
    scopes,
    team: null,
    created_at: new Date().toISOString(),
    expires_at: new Date(Date.now() + 10 * 86_400_000).toISOString(),
    revoked_at: null,
    last_used_at: null,
  };
}

async function signIn(world: World, request: Request, path: string): Promise<Response> {
  const { code } = (await request.json()) as { code: string };
  if (code !== "BCDF-GHJK") return problem(404, "not_found", "No terminal waits with this code.");
  if (path.endsWith("/decide")) return json(null, 204);
  return json({
    machine: "desk",
    address: "192.0.2.7",
    asked_at: new Date().toISOString(),
    expires_at: new Date().toISOString(),
    scopes: ["read", "write"],
    expires_in_days: 90,
    organization: world.actsIn,
  });
}

async function trust(world: World, request: Request, path: string): Promise<Response> {
  if (request.method === "GET") return json({ items: world.rules, next_cursor: null });
  if (request.method === "DELETE") {
    world.rules = world.rules.filter((one) => one.id !== path.split("/").at(-1));
    return json(null, 204);
  }
  const sent = (await request.json()) as { name: string; account: string; issuer: string; claims: object };
  const made = {
    ...sent,
    id: "trust-1",
    team: world.teams[0]!.name,
    audience: "trust-1",
    scopes: ["read", "write"],
    expires_in_minutes: 60,
    created_at: new Date().toISOString(),
    last_used_at: null,
  };
  world.rules = [made as World["rules"][number]];
  return json(made, 201);
}

async function secrets(world: World, request: Request, path: string): Promise<Response> {
  const [, , id, , name] = path.split("/");
  const others = world.secrets.filter((one) => one.name !== name);
  if (request.method === "GET") return json({ items: world.secrets, next_cursor: null });
  if (request.method === "DELETE") {
    world.secrets = others;
    return json(null, 204);
  }
  const { value } = (await request.json()) as { value: string };
  if (!value)
    return problem(400, "invalid", "The secret cannot be set so: value must be text that is not empty.");
  const team = world.teams.find((one) => one.id === id)!.name;
  const set_at = new Date(world.now).toISOString();
  const made = { id: "secret-1", name: name!, team, set_by: "ana", set_at, used_at: null };
  world.secrets = [...others, made];
  return json(made);
}
