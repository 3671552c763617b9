/** A small pretended platform for tests and for `npm run mock`: the same on every start, moved on only by `tick`. */

import type {
  Action,
  Announcement,
  BrowserSession,
  Chip,
  Cluster,
  Explanation,
  Job,
  JobDetail,
  JobEvent,
  Me,
  Node,
  Outputs,
  Role,
  Status,
  Team,
  TeamSecret,
  Token,
  TrustRule,
  Webhook,
} from "../api/types";

export type WorldSize = { nodes: number; chips: number; jobs: number };
export const SMALL: WorldSize = { nodes: 12, chips: 8, jobs: 64 };
export const BIG: WorldSize = { nodes: 10_000, chips: 8, jobs: 400 };

/** A fixed stream of numbers in [0, 1). */
function stream(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

const NAMES = [
  "llama-sft",
  "vit-pretrain",
  "moe-ablate",
  "whisper-eval",
  "diffusion-xl",
  "rl-gridworld",
  "tokenizer-sweep",
];
const ORGANIZATION = { id: "org-1", name: "Example Lab", slug: "example" };
const USERS = ["ana", "ravi", "sam", "mei"];
const STATES: Status[] = [
  "running",
  "running",
  "running",
  "succeeded",
  "queued",
  "failed",
  "succeeded",
  "cancelled",
  "timed_out",
];

const SENTENCES: { [status: string]: string } = {
  queued: "Needs 8 chips on one node; the emptiest node of pool h100 has 5 free.",
  held: "Held by its submitter.",
  starting: "Placed; the node is starting it.",
  running: "Running on 2 nodes.",
  succeeded: "Finished with exit code 0.",
  failed: "Exited with code 1 after 3 attempts.",
  cancelled: "Stopped by ana: wrong learning rate.",
  timed_out: "Reached its max_duration of 4 h.",
};

export class World {
  readonly random = stream(7);
  readonly teams: Team[];
  readonly jobs: Job[] = [];
  readonly nodes: Node[] = [];
  readonly logs = new Map<string, string>();
  readonly specs = new Map<string, { [key: string]: unknown }>();
  signedIn = true;
  organizations = [ORGANIZATION];
  actsIn = ORGANIZATION;
  /** What else than a password one can sign in with. */
  provider: string | null = null;
  announcements: Announcement[] = [];
  tokens: Token[] = [];
  sessions: BrowserSession[] = [];
  rules: TrustRule[] = [];
  secrets: TeamSecret[] = [];
  webhooks: Webhook[] = [];
  /** Whether there is a second factor, or one that was begun. */
  factor: "none" | "begun" | "on" = "none";
  /** Of the second factor; without one, none is asked for. */
  code: string | null = null;
  private seq = 0;

  constructor(
    readonly size: WorldSize = SMALL,
    public now = Date.parse("2026-11-22T20:30:00Z"),
  ) {
    this.teams = [
      team("team-nlp", "research-nlp", [quota("H100-80GB", 64, 128, 96), quota("A100-40GB", 32, 64, 12)]),
      team("team-vision", "vision", [quota("H100-80GB", 64, 96, 40), quota("A100-40GB", 16, null, 20)]),
    ];
    for (let index = 0; index < size.nodes; index += 1) this.nodes.push(this.node(index));
    for (let index = 0; index < size.jobs; index += 1) this.jobs.push(this.job(index));
    this.share();
  }

  me(): Me {
    return {
      user: { username: "ana", email: "ana@example.org", is_operator: true },
      organization: this.actsIn,
      organizations: this.organizations,
      teams: this.teams.map(({ id, name }) => ({ id, name, role: "owner" })),
      version: "0.1.0",
      currency: "EUR",
      notices: [
        "Jobs of this node run under the platform's own user: one trust domain. Start with root to separate them.",
      ],
    };
  }

  counts(jobs: Job[]): { [status: string]: number } {
    const counts: { [status: string]: number } = {};
    for (const job of jobs) counts[job.status] = (counts[job.status] ?? 0) + 1;
    return counts;
  }

  detail(job: Job): JobDetail {
    const spec = this.specs.get(job.id) ?? {
      name: job.name,
      team: job.team.name,
      commands: ["python train.py --epochs 3"],
      resources: { accelerators: `${job.chips.type}:${job.chips.milli_per_replica / 1000}` },
      nodes: job.chips.replicas,
      priority: "normal",
    };
    const actions: Action[] = ["succeeded", "failed", "cancelled", "timed_out"].includes(job.status)
      ? ["requeue"]
      : ["keep", "stop"];
    return {
      ...job,
      spec,
      effective_spec: {
        ...spec,
        priority: 50,
        preemptible: false,
        lease: "10m",
        retry: { limit: 0 },
        type: "task",
      },
      attempts: this.attempts(job),
      depends_on: [],
      schedule: null,
      dependents: [],
      advice: [],
      allowed_actions:
        job.status === "queued"
          ? [...actions, "hold"]
          : job.status === "held"
            ? [...actions, "resume"]
            : actions,
    };
  }

  events(job: Job): JobEvent[] {
    const event = (
      id: number,
      at: string | null,
      from: string | null,
      to: string,
      sentence: string,
      actor: string,
    ) =>
      at
        ? [
            {
              id,
              at,
              kind: "moved",
              from_state: from ?? "",
              to_state: to,
              attempt: to === "queued" ? null : 1,
              reason_code: "",
              sentence,
              facts: {},
              actor,
            },
          ]
        : [];
    return [
      ...event(4, job.ended_at, "running", job.status, SENTENCES[job.status] ?? "", "agent"),
      ...event(3, job.started_at, "starting", "running", "The first replica runs.", "agent"),
      ...event(2, job.started_at, "queued", "starting", `Placed on ${job.nodes.join(", ")}.`, "scheduler"),
      ...event(1, job.submitted_at, null, "queued", `Submitted by ${job.user}.`, job.user),
    ];
  }

  outputs(job: Job): Outputs {
    const ended = job.ended_at !== null;
    return {
      attempt: job.attempt || null,
      state: ended ? "complete" : "awaited",
      sentence: ended ? "" : "They are collected when it ends.",
      said: ended ? ["results/latest is a link to a folder."] : [],
      bytes: ended ? 5_242_891 : 0,
      kept_until: ended ? job.ended_at : null,
      files: ended
        ? [
            { path: "junit.xml", size: 11 },
            { path: "results/a b&c.bin", size: 5_242_880 },
          ]
        : [],
    };
  }

  explain(job: Job): Explanation {
    const waiting = job.status === "queued";
    return {
      status: job.status,
      sentence: job.sentence,
      reasons: waiting
        ? [
            {
              code: "not_enough_on_one_node",
              sentence: job.sentence,
              facts: { needed: 8, free: 5, pool: "h100" },
            },
            {
              code: "behind_in_queue",
              sentence: "3 jobs of higher priority come first.",
              facts: { ahead: 3 },
            },
          ]
        : [],
      since: waiting ? job.submitted_at : null,
      queue_position: waiting ? 4 : null,
      ahead: waiting ? 3 : null,
      forecast: waiting
        ? { p50: iso(this.now + 12 * 60_000), p90: iso(this.now + 45 * 60_000), made_at: iso(this.now) }
        : null,
    };
  }

  cluster(): Cluster {
    const chips = this.nodes.flatMap((node) => (node.contact === "ok" ? node.chips : []));
    const total = this.nodes.length * this.size.chips;
    const allocated = chips.reduce((sum, chip) => sum + chip.used_milli, 0);
    const busy = chips.filter((chip) => (chip.use_permille ?? 0) >= 50).length;
    const mean = chips.reduce((sum, chip) => sum + (chip.use_permille ?? 0), 0) / Math.max(1, chips.length);
    const wave = (index: number) => Math.sin(index / 38) * 130 + Math.sin(index / 9) * 24;
    const steps = Array.from({ length: 360 }, (_, index) => index);
    return {
      cell: "default",
      nodes: {
        ready: this.nodes.filter((node) => node.state === "ready" && node.contact === "ok").length,
        connected: this.nodes.filter((node) => node.contact === "ok").length,
        total: this.nodes.length,
      },
      chips: {
        total,
        allocated_milli: allocated,
        busy,
        idle: chips.length - busy,
        offline: total - chips.length,
        mean_use_permille: Math.round(mean),
      },
      types: ["H100-80GB", "A100-40GB"].map((type) => ({
        type,
        total: this.nodes.flatMap((node) => node.chips).filter((chip) => chip.type === type).length,
        allocated_milli: chips
          .filter((chip) => chip.type === type)
          .reduce((sum, chip) => sum + chip.used_milli, 0),
      })),
      cycle: { last_at: iso(this.now - 400), ok: true, error: null, duration_ms: 6 },
      series: {
        at: steps.map((step) => this.now - (359 - step) * 10_000),
        allocated: steps.map((step) => Math.round((820 + wave(step) * 0.8) * total)),
        use: steps.map((step) => Math.round(680 + wave(step))),
      },
    };
  }

  /** One second passes: use changes, logs grow, sometimes a job ends and another starts. */
  tick(): Job[] {
    this.now += 1000;
    for (const node of this.nodes) for (const chip of node.chips) this.drift(chip);
    for (const job of this.jobs) if (job.status === "running") this.grow(job);
    return [];
  }

  add(spec: { [key: string]: unknown }): Job {
    const job = this.job(this.jobs.length);
    Object.assign(job, {
      name: String(spec.name ?? job.name),
      status: "queued",
      sentence: "Waiting for the next cycle.",
      submitted_at: iso(this.now),
      started_at: null,
      ended_at: null,
      deadline: null,
      run_ms: null,
      wait_ms: 0,
      nodes: [],
      attempt: 0,
    });
    this.specs.set(job.id, spec);
    this.jobs.unshift(job);
    return job;
  }

  /** Change `job` as the server would, and the hint that tells of it. */
  move(job: Job, change: Partial<Job>) {
    Object.assign(job, change, { version: job.version + 1 });
    return this.hint(`team:${job.team.id}:jobs`, "job", job.id, job.version, { ...job });
  }

  hint(topic: string, kind: string, id: string, version: number, data?: unknown) {
    this.seq += 1;
    return { seq: this.seq, topic, id, version, kind, data };
  }

  private grow(job: Job): void {
    const step = (this.logs.get(job.id) ?? "").split("\n").length;
    const line = `step ${String(step).padStart(5)}  loss \u001b[32m${(4.2 * 0.999 ** step + this.random() * 0.1).toFixed(4)}\u001b[0m  tokens/s ${Math.round(31_000 + this.random() * 900)}\n`;
    this.logs.set(job.id, (this.logs.get(job.id) ?? "") + line);
    job.run_ms = this.now - Date.parse(job.started_at ?? iso(this.now));
  }

  private drift(chip: Chip): void {
    if (chip.use_permille === null || !chip.job) return;
    const next = chip.use_permille + (this.random() - 0.5) * 120;
    chip.use_permille = Math.round(Math.min(1000, Math.max(20, next)));
  }

  private node(index: number): Node {
    const h100 = this.size.nodes > 100 ? index % 96 < 64 : index % 3 !== 2;
    const offline = this.random() < 0.03 && index > 0;
    const racks = this.size.nodes > 100 ? 32 : 4;
    const type = h100 ? "H100-80GB" : "A100-40GB";
    const id = `node-${String(index + 1).padStart(this.size.nodes > 100 ? 5 : 2, "0")}`;
    const level = this.random() * 900;
    return {
      id,
      name: id,
      pool: h100 ? "h100" : "a100",
      state: index === 7 ? "draining" : "ready",
      status: offline ? "unreachable" : index === 7 ? "draining" : "ready",
      contact: offline ? "unreachable" : "ok",
      simulated: this.size.nodes > 100 || index % 6 === 5,
      images: true,
      trust: "one_domain",
      state_reason: "",
      notes: [],
      version: 1,
      cpu_milli: 96_000,
      used_cpu_milli: 41_000,
      memory_mib: 1024 * 1024,
      used_memory_mib: 512 * 1024,
      use: offline ? null : { cpu_permille: 380, memory_mib: 420 * 1024 },
      topology: ["block-1", `rack-${Math.floor(index / racks) + 1}`],
      agent_version: "0.1.0",
      last_seen_at: iso(this.now - (offline ? 840_000 : 600)),
      chips: Array.from({ length: this.size.chips }, (_, chip) => this.chip(id, chip, type, offline, level)),
    };
  }

  private chip(node: string, index: number, type: string, offline: boolean, level: number): Chip {
    const memory = type.startsWith("H100") ? 81_920 : 40_960;
    const used = this.random() < 0.82;
    const use = used ? Math.min(1000, Math.round(level + this.random() * 200)) : 0;
    return {
      id: `${node}-chip-${index}`,
      index,
      type,
      memory_mib: memory,
      healthy: this.random() > 0.01,
      health: 100,
      part_of: null,
      present: true,
      health_note: "",
      guest_milli: 0,
      guests: [],
      state: "in_service" as const,
      isolation: ["exclusive", "enforced"],
      used_milli: used ? 1000 : 0,
      used_memory_mib: used ? Math.round(memory * 0.8) : 0,
      use_permille: offline ? null : use,
      live_memory_mib: offline ? null : used ? Math.round(memory * (0.4 + this.random() * 0.5)) : 0,
      temperature_c: offline ? null : 34 + Math.round(use / 20),
      power_mw: offline ? null : 80_000 + use * 600,
      job: null,
    };
  }

  private share(): void {
    const running = this.jobs.filter((job) => job.status === "running");
    this.nodes.forEach((node, index) => {
      const job = running[index % Math.max(1, running.length)];
      for (const chip of node.chips)
        if (chip.used_milli > 0 && job) chip.job = { id: job.id, name: job.name };
    });
  }

  private job(index: number): Job {
    const status = STATES[index % STATES.length]!;
    const submitted = this.now - (index * 17 + 2) * 60_000;
    const started = ["queued", "held"].includes(status) ? null : submitted + 8000 + (index % 7) * 41_000;
    const running = status === "running";
    const ended =
      running || started === null ? null : Math.min(this.now - 1000, started + 480_000 + index * 9000);
    const chips = [8, 1, 4, 16, 2][index % 5]!;
    const replicas = chips > 8 ? 2 : 1;
    const team = this.teams[index % 2]!;
    const id = `job-${(0x4f2a91 + index * 7919).toString(36)}`;
    const job: Job = {
      id,
      name: `${NAMES[index % NAMES.length]}-${index + 1}`,
      type: "task",
      status,
      sentence: SENTENCES[status] ?? "",
      team: { id: team.id, name: team.name },
      user: USERS[index % USERS.length]!,
      priority: [50, 50, 75, 25][index % 4]!,
      preemptible: index % 3 === 0,
      set: null,
      index: null,
      labels: { project: "eval" },
      chips: {
        type: "H100-80GB",
        milli_per_replica: (chips / replicas) * 1000,
        replicas,
        min_replicas: replicas,
        max_replicas: replicas,
        total_milli: chips * 1000,
      },
      cpu_milli: 8000,
      memory_mib: 65_536,
      attempt: started ? 1 : 0,
      exit_code: status === "succeeded" ? 0 : status === "failed" ? 1 : null,
      outcome: ended ? status : "",
      reason_code: "",
      submitted_at: iso(submitted),
      started_at: started ? iso(started) : null,
      ended_at: ended ? iso(ended) : null,
      deadline: null,
      wait_ms: started ? started - submitted : this.now - submitted,
      run_ms: started ? (ended ?? this.now) - started : null,
      nodes: started ? [`node-0${1 + (index % 9)}`] : [],
      use_permille: started ? 250 + ((index * 137) % 700) : null,
      idle: null,
      straggler: null,
      lending: null,
      progress:
        status === "running"
          ? {
              at: iso(this.now - 700),
              step: 1200 * (index + 1),
              throughput: 350.5,
              loss: 1 / (index + 2),
              saved_step: 1200 * index + 600,
              saved_at: iso(this.now - 95_000),
              problem: "",
            }
          : null,
      memory_peak_mib: started ? 52_000 : null,
      version: 3,
      url: `/jobs/${id}`,
    };
    if (started) this.logs.set(id, boot(job));
    return job;
  }

  private attempts(job: Job): JobDetail["attempts"] {
    if (!job.started_at) return [];
    return [
      {
        number: 1,
        state: job.ended_at ? "ended" : "running",
        outcome: job.ended_at ? job.status : "",
        contact: "ok",
        exit_code: job.exit_code,
        sentence: job.sentence,
        placed_at: iso(Date.parse(job.started_at) - 900),
        running_at: job.started_at,
        ended_at: job.ended_at,
        use_permille: job.use_permille,
        memory_peak_mib: job.memory_peak_mib ?? 0,
        cpu_time_ms: 812_000,
        energy_mj: null,
        progress: null,
        replicas: Array.from({ length: job.chips.replicas }, (_, index) => ({
          index,
          node: job.nodes[0] ?? "",
          state: job.ended_at ? "ended" : "running",
          exit_code: job.exit_code,
          log_size: (this.logs.get(job.id) ?? "").length,
          image: "",
          chips: Array.from({ length: job.chips.milli_per_replica / 1000 }, (_, chip) => ({
            id: `${job.id}-${index}-${chip}`,
            index: chip,
            type: job.chips.type ?? "",
            milli: 1000,
            kind: "owned" as const,
            memory_mib: 81_920,
          })),
        })),
      },
    ];
  }
}

function boot(job: Job): string {
  const head = [
    "$ python train.py --epochs 3",
    `rank 0 of ${job.chips.replicas} on ${job.nodes[0]}`,
    "loading data \u001b[36mdigits\u001b[0m … 1797 images",
  ];
  const steps = Array.from(
    { length: 400 },
    (_, step) =>
      `step ${String(step).padStart(5)}  loss \u001b[32m${(4.2 * 0.994 ** step).toFixed(4)}\u001b[0m  tokens/s ${31_000 + ((step * 37) % 900)}`,
  );
  const end = job.status === "failed" ? ["\u001b[31mRuntimeError: loss is not a number\u001b[0m"] : [];
  return `${[...head, ...steps, ...end].join("\n")}\n`;
}

function quota(chip_type: string, guaranteed: number, limit: number | null, used: number) {
  return {
    chip_type,
    guaranteed_milli: guaranteed * 1000,
    limit_milli: limit === null ? null : limit * 1000,
    over_quota_weight: 1,
    used_milli: used * 1000,
  };
}

function team(id: string, name: string, quotas: Team["quotas"]): Team {
  const members = USERS.map((username, index) => ({
    username,
    role: (index === 0 ? "owner" : "member") as Role,
  }));
  return {
    id,
    name,
    organization: ORGANIZATION,
    role: "owner",
    quotas,
    user_caps: [],
    budget: null,
    members,
  };
}

export function iso(at: number): string {
  return new Date(at).toISOString();
}
