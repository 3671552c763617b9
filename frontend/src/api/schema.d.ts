/**
 * The HTTP contract in the shape of openapi-typescript. `npm run types` writes this file anew from openapi.json,
 * the server's own schema; pages take their types from `types.ts`, never from here.
 */

export interface paths {
  "/api/v1/session": {
    get: operations["session_read"];
    post: operations["session_open"];
    delete: operations["session_close"];
  };
  "/api/v1/me": { get: operations["me"] };
  "/api/v1/jobs": { get: operations["jobs_list"]; post: operations["jobs_create"] };
  "/api/v1/jobs/counts": { get: operations["jobs_counts"] };
  "/api/v1/jobs/{id}": { get: operations["job_read"] };
  "/api/v1/jobs/{id}/stop": { post: operations["job_stop"] };
  "/api/v1/jobs/{id}/resume": { post: operations["job_resume"] };
  "/api/v1/jobs/{id}/requeue": { post: operations["job_requeue"] };
  "/api/v1/jobs/{id}/hold": { post: operations["job_hold"] };
  "/api/v1/jobs/{id}/events": { get: operations["job_events"] };
  "/api/v1/jobs/{id}/logs": { get: operations["job_logs"] };
  "/api/v1/jobs/{id}/explain": { get: operations["job_explain"] };
  "/api/v1/jobs/{id}/usage": { get: operations["job_usage"] };
  "/api/v1/nodes": { get: operations["nodes_list"] };
  "/api/v1/nodes/{id}/drain": { post: operations["node_drain"] };
  "/api/v1/nodes/{id}/cordon": { post: operations["node_cordon"] };
  "/api/v1/nodes/{id}/return": { post: operations["node_return"] };
  "/api/v1/cluster": { get: operations["cluster_read"] };
  "/api/v1/teams": { get: operations["teams_list"] };
}

export type webhooks = Record<string, never>;

export interface components {
  schemas: {
    Status:
      | "held"
      | "queued"
      | "starting"
      | "running"
      | "stopping"
      | "cancelling"
      | "suspended"
      | "succeeded"
      | "failed"
      | "cancelled"
      | "timed_out"
      | "unreachable";
    Me: {
      user: { username: string; email: string; is_operator: boolean };
      organization: { id: string; name: string; slug: string };
      teams: { id: string; name: string; role: string }[];
      version: string;
      notices: string[];
    };
    Job: {
      id: string;
      name: string;
      type: string;
      status: components["schemas"]["Status"];
      sentence: string;
      team: { id: string; name: string };
      user: string;
      priority: number;
      preemptible: boolean;
      set: string | null;
      index: number | null;
      labels: { [key: string]: string };
      chips: {
        type: string | null;
        milli_per_replica: number;
        replicas: number;
        total_milli: number;
      };
      cpu_milli: number;
      memory_mib: number;
      attempt: number;
      exit_code: number | null;
      outcome: string | null;
      reason_code: string | null;
      submitted_at: string;
      started_at: string | null;
      ended_at: string | null;
      wait_ms: number | null;
      run_ms: number | null;
      nodes: string[];
      use_permille: number | null;
      memory_peak_mib: number | null;
      version: number;
      url: string;
    };
    JobDetail: components["schemas"]["Job"] & {
      spec: { [key: string]: unknown };
      effective_spec: { [key: string]: unknown };
      attempts: components["schemas"]["Attempt"][];
      allowed_actions: string[];
    };
    Attempt: {
      number: number;
      state: string;
      outcome: string | null;
      contact: string;
      exit_code: number | null;
      sentence: string;
      placed_at: string | null;
      running_at: string | null;
      ended_at: string | null;
      use_permille: number | null;
      memory_peak_mib: number | null;
      cpu_time_ms: number | null;
      replicas: {
        index: number;
        node: string;
        state: string;
        exit_code: number | null;
        log_size: number;
        chips: { id: string; index: number; type: string; milli: number; memory_mib: number }[];
      }[];
    };
    Event: {
      id: string | number;
      at: string;
      kind: string;
      from_state: string | null;
      to_state: string | null;
      attempt: number | null;
      reason_code: string | null;
      sentence: string;
      facts: { [key: string]: unknown };
      actor: string;
    };
    Logs: {
      attempt: number;
      replica: number;
      offset: number;
      next_offset: number;
      size: number;
      ended: boolean;
      text: string;
      replicas: { attempt: number; replica: number; size: number }[];
    };
    Explanation: {
      status: components["schemas"]["Status"];
      sentence: string;
      reasons: { code: string; sentence: string; facts: { [key: string]: unknown } }[];
      since: string | null;
      queue_position: number | null;
      ahead: number | null;
    };
    Usage: {
      replicas: {
        replica: number;
        node: string;
        chips: {
          id: string;
          type: string;
          index: number;
          node: string;
          use_permille: number | null;
          memory_mib: number | null;
        }[];
        cpu_permille: number | null;
        memory_mib: number | null;
      }[];
      as_of: string | null;
    };
    Chip: {
      id: string;
      index: number;
      type: string;
      memory_mib: number;
      healthy: boolean;
      isolation: string[];
      used_milli: number;
      used_memory_mib: number;
      use_permille: number | null;
      live_memory_mib: number | null;
      temperature_c: number | null;
      power_mw: number | null;
      job: { id: string; name: string } | null;
    };
    Node: {
      id: string;
      name: string;
      pool: string;
      state: string;
      status: string;
      contact: string;
      simulated: boolean;
      trust: string;
      cpu_milli: number;
      used_cpu_milli: number;
      memory_mib: number;
      used_memory_mib: number;
      use: { cpu_permille: number | null; memory_mib: number | null } | null;
      topology: string[];
      agent_version: string;
      last_seen_at: string | null;
      chips: components["schemas"]["Chip"][];
    };
    Cluster: {
      cell: string;
      nodes: { ready: number; total: number };
      chips: {
        total: number;
        allocated_milli: number;
        busy: number;
        idle: number;
        offline: number;
        mean_use_permille: number | null;
      };
      types: { type: string; total: number; allocated_milli: number }[];
      cycle: { last_at: string | null; ok: boolean; error: string | null; duration_ms: number | null };
      series: { at: (number | string)[]; allocated: (number | null)[]; use: (number | null)[] };
    };
    Quota: {
      chip_type: string;
      guaranteed_milli: number;
      limit_milli: number | null;
      over_quota_weight: number;
      used_milli: number;
    };
    Team: {
      id: string;
      name: string;
      organization: string | { id: string; name: string };
      role: string;
      quotas: components["schemas"]["Quota"][];
      members: { username: string; role: string }[];
    };
    DryRun: {
      fits: boolean;
      sentence: string;
      roundings: string[];
      spec: { [key: string]: unknown };
    };
    JobSetCreated: { set: string; count: number; jobs: components["schemas"]["Job"][] };
    Problem: {
      type?: string;
      title: string;
      status: number;
      code: string;
      detail?: string;
      errors?: { field: string; message: string; hint?: string | null }[];
    };
  };
}

type Body<T> = { headers: { [name: string]: unknown }; content: { "application/json": T } };
type Refused = {
  headers: { [name: string]: unknown };
  content: { "application/problem+json": components["schemas"]["Problem"] };
};
type List<T> = { items: T[]; next_cursor: string | null };
type Page = { limit?: number; cursor?: string };
type None = { query?: never; header?: never; path?: never; cookie?: never };
type ById = { query?: never; header?: never; path: { id: string }; cookie?: never };
type Read<P, T> = { parameters: P; requestBody?: never; responses: { 200: Body<T>; default: Refused } };
type Act<B> = {
  parameters: ById;
  requestBody?: { content: { "application/json": B } };
  responses: { 200: Body<components["schemas"]["Job"]>; default: Refused };
};
type ActOnNode<B> = {
  parameters: ById;
  requestBody?: { content: { "application/json": B } };
  responses: { 200: Body<components["schemas"]["Node"]>; default: Refused };
};

export interface operations {
  session_read: Read<None, { authenticated: boolean }>;
  session_open: {
    parameters: None;
    requestBody: { content: { "application/json": { username: string; password: string } } };
    responses: { 200: Body<components["schemas"]["Me"]>; default: Refused };
  };
  session_close: {
    parameters: None;
    requestBody?: never;
    responses: { 204: { headers: { [name: string]: unknown }; content?: never }; default: Refused };
  };
  me: Read<None, components["schemas"]["Me"]>;
  jobs_list: Read<
    {
      query?: Page & {
        status?: string;
        team?: string;
        user?: string;
        name?: string;
        label?: string;
        set?: string;
        q?: string;
        sort?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    },
    List<components["schemas"]["Job"]>
  >;
  jobs_create: {
    parameters: { query?: { dry_run?: number }; header?: { "Idempotency-Key"?: string }; path?: never; cookie?: never };
    requestBody: { content: { "application/json": { [key: string]: unknown } } };
    responses: {
      200: Body<components["schemas"]["DryRun"]>;
      201: Body<components["schemas"]["Job"] | components["schemas"]["JobSetCreated"]>;
      default: Refused;
    };
  };
  jobs_counts: Read<
    { query?: { team?: string; user?: string; q?: string }; header?: never; path?: never; cookie?: never },
    { [status: string]: number }
  >;
  job_read: Read<ById, components["schemas"]["JobDetail"]>;
  job_stop: Act<{ reason?: string }>;
  job_resume: Act<{ [key: string]: never }>;
  job_requeue: Act<{ [key: string]: never }>;
  job_hold: Act<{ [key: string]: never }>;
  job_events: Read<
    { query?: Page; header?: never; path: { id: string }; cookie?: never },
    List<components["schemas"]["Event"]>
  >;
  job_logs: Read<
    {
      query?: { attempt?: number; replica?: number; offset?: number; limit_bytes?: number; tail_bytes?: number };
      header?: never;
      path: { id: string };
      cookie?: never;
    },
    components["schemas"]["Logs"]
  >;
  job_explain: Read<ById, components["schemas"]["Explanation"]>;
  job_usage: Read<ById, components["schemas"]["Usage"]>;
  nodes_list: Read<
    { query?: Page; header?: never; path?: never; cookie?: never },
    List<components["schemas"]["Node"]>
  >;
  node_drain: ActOnNode<{ reason?: string }>;
  node_cordon: ActOnNode<{ reason?: string }>;
  node_return: ActOnNode<{ [key: string]: never }>;
  cluster_read: Read<None, components["schemas"]["Cluster"]>;
  teams_list: Read<
    { query?: Page; header?: never; path?: never; cookie?: never },
    List<components["schemas"]["Team"]>
  >;
}
