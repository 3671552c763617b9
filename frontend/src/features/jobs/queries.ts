/** What the job pages ask of the server. */

import { keepPreviousData, useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { api, body, query } from "../../api/client";
import { useJobFeed, usePolling } from "../../api/live";
import { Batches } from "../../api/throttle";
import type { Job } from "../../api/types";

export type JobFilters = {
  status?: string;
  team?: string;
  user?: string;
  set?: string;
  q?: string;
  sort?: string;
};

const PAGE = 50;
/** A quiet list is read again at most this often while jobs come and go. */
const REFRESH_MS = 1000;

/** The jobs that match, page by page, kept alive by hints. */
export function useJobs(filters: JobFilters, busy: boolean) {
  const key = ["get", "/api/v1/jobs", { params: { query: filters } }, "pages"];
  const polling = usePolling();
  const jobs = useInfiniteQuery({
    queryKey: key,
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
    refetchInterval: polling,
  });
  const news = useNews(busy, jobs.refetch);
  const rows: Job[] = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  return { ...jobs, rows, ...news };
}

/**
 * Rows that are shown change in place at once. New ones would push others away: they come in by themselves
 * while nobody is at work in the list (`busy`), and are only counted ("3 new") while somebody is.
 */
function useNews(busy: boolean, refetch: () => Promise<unknown>) {
  const feed = useJobFeed();
  const [added, setAdded] = useState<ReadonlySet<string>>(new Set());
  const isBusy = useRef(busy);
  isBusy.current = busy;
  const show = useCallback(() => {
    setAdded(new Set());
    void refetch();
  }, [refetch]);
  useEffect(() => {
    const refreshes = new Batches<string>(() => !isBusy.current && show(), REFRESH_MS);
    return feed.watch((news) => {
      if (!isBusy.current) refreshes.add("refresh");
      else if (news.added.length > 0) setAdded((old) => new Set([...old, ...news.added]));
    });
  }, [feed, show]);
  useEffect(() => {
    if (!busy && added.size > 0) show();
  }, [busy, added.size, show]);
  return { added: added.size, showAdded: show };
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
  return query.useQuery("get", "/api/v1/jobs/{id}", byId(id), { refetchInterval: polling || ALIVE_MS });
}

export function byId(id: string) {
  return { params: { path: { id } } };
}

export type Action = "stop" | "resume" | "requeue" | "hold";

/** Carry out `action`; the answer is shown before the hint arrives. */
export function useAct() {
  const client = useQueryClient();
  const feed = useJobFeed();
  return async (id: string, action: Action, reason?: string): Promise<Job> => {
    const job = await body(
      action === "stop"
        ? api.POST("/api/v1/jobs/{id}/stop", { ...byId(id), body: reason ? { reason } : {} })
        : api.POST(`/api/v1/jobs/{id}/${action}`, { ...byId(id), body: {} }),
    );
    feed.receive({ seq: 0, topic: "", kind: "job", id, version: job.version, data: job });
    void client.invalidateQueries({ queryKey: ["get", "/api/v1/jobs/{id}", byId(id)] });
    return job;
  };
}
