/** Answers the dashboard's requests out of a `World`, as the server would. */

import type { Job } from "../api/types";
import { ofAccount } from "./accounts";
import { json, problem } from "./answers";
import { webhooks } from "./webhooks";
import type { World } from "./world";

type Answer = Response | Promise<Response>;

/** The fetch of a platform whose state is `world`. `told` hears what each request changed. */
export function serverOf(world: World, told: (hint: object) => void = () => {}) {
  return async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = input instanceof Request ? input : new Request(input, init);
    const url = new URL(request.url);
    const path = url.pathname.replace(/^\/api\/v1/, "");
    if (path === "/session") return session(world, request);
    if (!world.signedIn) return problem(401, "not_authenticated", "Sign in first.");
    const own = await ofAccount(world, request, path);
    return own ?? answer(world, request, path, url.searchParams, told);
  };
}

async function session(world: World, request: Request): Promise<Response> {
  if (request.method === "GET")
    return json({ authenticated: world.signedIn, single_sign_on: world.provider });
  if (request.method === "DELETE") {
    world.signedIn = false;
    return json(null, 204);
  }
  const { password, code } = (await request.json()) as { password: string; code?: string };
  if (password !== "right")
    return problem(401, "wrong_credentials", "The user name or the password is wrong.");
  if (world.code && code !== world.code) return problem(401, "second_factor", "The code is wrong.");
  world.signedIn = true;
  return json(world.me());
}

async function switched(world: World, request: Request): Promise<Response> {
  const { organization } = (await request.json()) as { organization: string };
  const found = world.organizations.find(({ id }) => id === organization);
  if (!found) return problem(404, "not_found", "There is no such organization among yours.");
  world.actsIn = found;
  return json(world.me());
}

function answer(
  world: World,
  request: Request,
  path: string,
  search: URLSearchParams,
  told: (hint: object) => void,
): Answer {
  if (path === "/me") return json(world.me());
  if (path === "/me/organization") return switched(world, request);
  if (path === "/cluster") return json(world.cluster());
  if (path === "/forecasts") return json({ scored: 40, within_p50: 22, within_p90: 37 });
  if (path === "/savings")
    return json({
      method: "Played by the simulator.",
      days: [],
      total: {
        days: 3,
        jobs: 120,
        chip_ms_saved: 97_200_000,
        wait_ms_avoided: 43_200_000,
        wait_error_ms: -720_000,
        wait_error_days: 3,
        energy_mwh_saved: 4_250_000,
        drawn_mwh: null,
      },
    });
  if (path === "/schedules") return json({ items: [], next_cursor: null });
  if (path === "/quota-requests") return json({ items: [], next_cursor: null });
  if (path.startsWith("/webhooks")) return webhooks(world, request, path);
  if (path === "/teams") return json({ items: world.teams, next_cursor: null });
  if (path === "/nodes") return json(pageOf(world.nodes, search));
  if (path === "/jobs" && request.method === "POST") return create(world, request, search, told);
  if (path === "/jobs/counts") return json(world.counts(matching(world.jobs, search)));
  if (path === "/jobs")
    return json(pageOf(sorted(matching(world.jobs, search, true), search.get("sort")), search));
  const [, noun, id, part] = path.split("/");
  const job = noun === "jobs" ? world.jobs.find((one) => one.id === id) : undefined;
  if (!job) return problem(404, "not_found", "There is no such thing, or it is not yours to see.");
  return ofJob(world, job, part ?? "", search, told);
}

function ofJob(
  world: World,
  job: Job,
  part: string,
  search: URLSearchParams,
  told: (hint: object) => void,
): Response {
  const changes: { [action: string]: Partial<Job> } = {
    stop: { status: job.status === "queued" ? "cancelled" : "cancelling", sentence: "Stopped by ana." },
    requeue: { status: "queued", sentence: "Waiting for the next cycle.", ended_at: null, started_at: null },
    resume: { status: "queued", sentence: "Waiting for the next cycle." },
    hold: { status: "held", sentence: "Held by ana." },
  };
  if (changes[part]) {
    told(world.move(job, changes[part]));
    return json(job);
  }
  if (part === "") return json(world.detail(job));
  if (part === "events") return json({ items: world.events(job), next_cursor: null });
  if (part === "explain") return json(world.explain(job));
  if (part === "outputs") return json(world.outputs(job));
  if (part === "logs") return json(logsOf(world, job, search));
  return json(usageOf(world, job));
}

function logsOf(world: World, job: Job, search: URLSearchParams) {
  const text = world.logs.get(job.id) ?? "";
  const tail = search.get("tail_bytes");
  const offset = tail ? Math.max(0, text.length - Number(tail)) : Number(search.get("offset") ?? 0);
  const next = Math.min(text.length, offset + Number(search.get("limit_bytes") ?? 1_048_576));
  const replicas = Array.from({ length: job.chips.replicas }, (_, replica) => ({
    attempt: 1,
    replica,
    size: text.length,
  }));
  return {
    attempt: 1,
    replica: 0,
    offset,
    next_offset: next,
    size: text.length,
    ended: job.ended_at !== null,
    text: text.slice(offset, next),
    replicas,
  };
}

function usageOf(world: World, job: Job) {
  const node = world.nodes[0];
  return {
    as_of: new Date(world.now).toISOString(),
    replicas: Array.from({ length: job.chips.replicas }, (_, replica) => ({
      replica,
      node: job.nodes[0] ?? "",
      cpu_permille: 420,
      memory_mib: 48_000,
      chips: (node?.chips ?? []).slice(0, job.chips.milli_per_replica / 1000).map((chip) => ({
        id: `${chip.id}-${replica}`,
        type: chip.type,
        index: chip.index,
        node: node?.name ?? "",
        use_permille: chip.use_permille,
        memory_mib: chip.live_memory_mib,
      })),
    })),
  };
}

async function create(
  world: World,
  request: Request,
  search: URLSearchParams,
  told: (hint: object) => void,
): Promise<Response> {
  const spec = (await request.json()) as { [key: string]: unknown };
  if (!spec.commands) {
    return problem(422, "invalid_spec", "The spec has an error.", [
      { field: "commands", message: "A job needs at least one command." },
    ]);
  }
  if (search.get("dry_run")) {
    return json({
      fits: true,
      sentence: "Starts now: pool h100 has 5 nodes with enough free chips.",
      roundings: spec.resources ? ["resources.memory: 60 GiB → 64 GiB, the share of 4 chips"] : [],
      warnings: [],
      outlook: {
        starts_at: null,
        starts_by: null,
        run_ms: null,
        costs: [],
        holdings: [],
        sentences: ["It would start at once."],
      },
      alternatives: spec.preemptible
        ? []
        : [
            {
              patch: { preemptible: true, resources: { accelerators: "A100:1" } },
              sentence: "If it were preemptible it would start at once.",
              starts_at: new Date(world.now).toISOString(),
              starts_by: new Date(world.now).toISOString(),
              costs: [],
            },
          ],
      spec: { ...spec, priority: 50, preemptible: false },
    });
  }
  const job = world.add(spec);
  told(world.hint(`team:${job.team.id}:jobs`, "job", job.id, job.version, { ...job }));
  return json(job, 201);
}

function matching(jobs: Job[], search: URLSearchParams, byStatus = false): Job[] {
  const statuses = byStatus ? search.get("status")?.split(",") : undefined;
  const team = search.get("team");
  const user = search.get("user");
  const text = search.get("q")?.toLowerCase();
  return jobs.filter(
    (job) =>
      (!statuses || statuses.includes(job.status)) &&
      (!team || job.team.id === team) &&
      (!user || job.user === user) &&
      (!text || `${job.name} ${job.id} ${job.user}`.toLowerCase().includes(text)),
  );
}

function sorted(jobs: Job[], sort: string | null): Job[] {
  const key = (sort ?? "-submitted_at").replace("-", "") as keyof Job;
  const down = (sort ?? "-submitted_at").startsWith("-");
  const order = (a: Job, b: Job) =>
    String(a[key]) < String(b[key]) ? -1 : String(a[key]) > String(b[key]) ? 1 : 0;
  return [...jobs].sort((a, b) => (down ? order(b, a) : order(a, b)));
}

function pageOf<T>(items: T[], search: URLSearchParams) {
  const from = Number(search.get("cursor") ?? 0);
  const to = from + Math.min(200, Number(search.get("limit") ?? 50));
  return { items: items.slice(from, to), next_cursor: to < items.length ? String(to) : null };
}
