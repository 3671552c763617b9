/** What the job pages ask of the server. */

import { keepPreviousData, useInfiniteQuery, useQueries, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { api, body, query } from "../../api/client";
import { useJobFeed, usePolling } from "../../api/live";
import type { Action, Job } from "../../api/types";
import { keepStill } from "./still";

export type JobFilters = {
  status?: string;
  team?: string;
  user?: string;
  set?: string;
  q?: string;
  sort?: string;
};

const PAGE = 50;

/** The jobs that match, page by page, kept alive by hints. While `busy`, rows change in place but do not move. */
export function useJobs(filters: JobFilters, busy: boolean) {
  const jobs = useInfiniteQuery({
    queryKey: ["get", "/api/v1/jobs", { params: { query: filters } }, "pages"],
    queryFn: ({ pageParam, signal }) =>
      body(
        api.GET("/api/v1/jobs", {
          params: { query: { ...filters, limit: PAGE, cursor: pageParam ?? undefined } },
          signal,
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
    refetchInterval: usePolling(),
  });
  const newest = useMemo(() => jobs.data?.pages.flatMap((page) => page.items) ?? [], [jobs.data]);
  const still = useStill(newest, busy, JSON.stringify(filters));
  return { ...jobs, ...still };
}

/** The rows as they stood when somebody began to work in the list (`busy`), each with its newest content. */
function useStill(newest: Job[], busy: boolean, of: string) {
  const [held, setHeld] = useState<{ of: string; rows: Job[] } | null>(null);
  useEffect(() => {
    setHeld((old) => (busy ? (old?.of === of ? old : null) : null));
  }, [busy, of]);
  useEffect(() => {
    if (busy && newest.length > 0) setHeld((old) => old ?? { of, rows: newest });
  }, [busy, newest, of]);
  const still = busy && held?.of === of ? keepStill(held.rows, newest) : null;
  const gone = useGone(still?.gone ?? NONE);
  if (!still) return { rows: newest, added: 0, showAdded: () => {} };
  const rows = still.rows.map((row) => gone.get(row.id) ?? row);
  return { rows, added: still.added, showAdded: () => setHeld({ of, rows: newest }) };
}

const NONE: string[] = [];
/** Rows that left the filter while they were looked at are read one by one, up to this many. */
const MOST_GONE = 20;

function useGone(ids: string[]): Map<string, Job> {
  const answers = useQueries({
    queries: ids.slice(0, MOST_GONE).map((id) => query.queryOptions("get", "/api/v1/jobs/{id}", byId(id))),
  });
  return new Map(answers.flatMap(({ data }) => (data ? [[data.id, data as Job]] : [])));
}

export function useCounts(filters: Pick<JobFilters, "team" | "user" | "q">) {
  const params = { params: { query: filters } };
  const options = { refetchInterval: usePolling(), placeholderData: keepPreviousData };
  return query.useQuery("get", "/api/v1/jobs/counts", params, options);
}

/** While a job lives it is read again this often, whatever the hints say: run time and use move on. */
const ALIVE_MS = 10_000;

export function useJob(id: string) {
  const polling = usePolling();
  return query.useQuery("get", "/api/v1/jobs/{id}", byId(id), {
    refetchInterval: Math.min(polling, ALIVE_MS),
  });
}

export function byId(id: string) {
  return { params: { path: { id } } };
}

/** Carry out `action`; the answer is shown before the hint arrives. */
export function useAct() {
  const client = useQueryClient();
  const feed = useJobFeed();
  return async (id: string, action: Action, reason?: string): Promise<Job> => {
    const job = await body(
      action === "stop"
        ? api.POST("/api/v1/jobs/{id}/stop", { ...byId(id), body: reason ? { reason } : {} })
        : api.POST(`/api/v1/jobs/{id}/${action}`, byId(id)),
    );
    feed.receive({ seq: 0, topic: "", kind: "job", id, version: job.version, data: job });
    void client.invalidateQueries({ queryKey: ["get", "/api/v1/jobs/{id}", byId(id)] });
    return job;
  };
}
