/** Where hints meet the query cache: newer versions patch what is shown, unknown ones refresh it, gaps refresh all. */

import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useRef, useSyncExternalStore } from "react";
import { type Connection, type Hint, type LiveSocket, live } from "./socket";
import { Batches, browserTime, type ThrottleWorld } from "./throttle";
import type { Job } from "./types";
import { VersionGate } from "./versions";

/** Patches reach the page at most this often, unless a state changes. */
const PATCH_INTERVAL_MS = 1000;
/** Pages read again this often where sockets are blocked. */
export const POLL_MS = 15_000;

type JobPage = { items: Job[]; next_cursor: string | null };
type JobPages = InfiniteData<JobPage>;
const JOB_LISTS = ["get", "/api/v1/jobs"];

function isPages(list: unknown): list is JobPages {
  return typeof list === "object" && list !== null && "pages" in list;
}

/** What the jobs on this page are told about: `added` are ids that no list shows yet. */
export type JobNews = { added: string[]; changed: string[] };

export class JobFeed {
  private readonly gate = new VersionGate();
  private readonly batches: Batches<Hint>;
  private readonly watchers = new Set<(news: JobNews) => void>();

  constructor(
    private readonly client: QueryClient,
    world: ThrottleWorld = browserTime,
  ) {
    this.batches = new Batches((batch) => this.apply(batch), PATCH_INTERVAL_MS, world);
  }

  /** Take a hint of a job up; older versions than the known one are ignored. */
  receive = (hint: Hint): void => {
    if (hint.kind !== "job" && hint.kind !== "verdict") return;
    if (!this.gate.accepts(`${hint.kind}:${hint.id}`, hint.version)) return;
    this.batches.add(hint, this.changesState(hint));
  };

  watch(watcher: (news: JobNews) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  forget(): void {
    this.gate.clear();
  }

  private changesState(hint: Hint): boolean {
    const job = jobIn(hint);
    return !job || this.statusOf(job.id) !== job.status;
  }

  private statusOf(id: string): string | undefined {
    for (const [, list] of this.client.getQueriesData<JobPages | JobPage>({ queryKey: JOB_LISTS })) {
      const pages = isPages(list) ? list.pages : list ? [list] : [];
      const found = pages.flatMap((page) => page.items).find((job) => job.id === id);
      if (found) return found.status;
    }
    return undefined;
  }

  private apply(batch: Hint[]): void {
    const jobs = new Map(batch.map((hint) => [hint.id, jobIn(hint)]));
    const shown = this.patchLists(jobs);
    for (const [id, job] of jobs) this.patchOne(id, job);
    void this.client.invalidateQueries({ queryKey: ["get", "/api/v1/jobs/counts"] });
    const added = [...jobs.keys()].filter((id) => !shown.has(id));
    const changed = [...jobs.keys()].filter((id) => shown.has(id));
    for (const watcher of this.watchers) watcher({ added, changed });
  }

  private patchLists(jobs: Map<string, Job | null>): Set<string> {
    const shown = new Set<string>();
    this.client.setQueriesData<JobPages | JobPage>({ queryKey: JOB_LISTS }, (old) => {
      if (!old) return old;
      if (!isPages(old)) return patchPage(old, jobs, new Set());
      return { ...old, pages: old.pages.map((page) => patchPage(page, jobs, shown)) };
    });
    // Short lists (tiles, the palette) are simply read again; long ones decide for themselves (`watch`).
    void this.client.invalidateQueries({
      queryKey: JOB_LISTS,
      predicate: ({ state }) => !isPages(state.data),
    });
    return shown;
  }

  private patchOne(id: string, job: Job | null): void {
    const key = ["get", "/api/v1/jobs/{id}", { params: { path: { id } } }];
    if (job) this.client.setQueryData<Job>(key, (old) => old && { ...old, ...newer(old, job) });
    // The detail holds more than a hint tells: attempts, allowed actions.
    void this.client.invalidateQueries({ queryKey: key });
    for (const part of ["explain", "events"]) {
      void this.client.invalidateQueries({
        queryKey: ["get", `/api/v1/jobs/{id}/${part}`, { params: { path: { id } } }],
      });
    }
  }
}

function patchPage(page: JobPage, jobs: Map<string, Job | null>, shown: Set<string>): JobPage {
  let touched = false;
  const items = page.items.map((old) => {
    if (!jobs.has(old.id)) return old;
    shown.add(old.id);
    const job = jobs.get(old.id);
    if (!job) return old;
    touched = true;
    return newer(old, job);
  });
  return touched ? { ...page, items } : page;
}

/** The one of the two with the higher version; a list fetched meanwhile is not overwritten by an older hint. */
export function newer(old: Job, job: Job): Job {
  return job.version >= old.version ? { ...old, ...job } : old;
}

/** The whole job in a hint's data, if it carries one. */
export function jobIn(hint: Hint): Job | null {
  const data = hint.data as Partial<Job> | undefined | null;
  return data && typeof data.id === "string" && typeof data.status === "string" ? (data as Job) : null;
}

/** Refresh everything shown whenever messages may have been missed. */
export function refreshOnGap(socket: LiveSocket, client: QueryClient, feed: JobFeed): () => void {
  return socket.onGap(() => {
    feed.forget();
    void client.invalidateQueries();
  });
}

export function useConnection(): Connection {
  return useSyncExternalStore(live.watchConnection, live.getConnection);
}

/** How often to read again: never while hints arrive, every 15 s where they cannot. */
export function usePolling(): number | false {
  return useConnection().state === "live" ? false : POLL_MS;
}

/** Hear `topic` for as long as the component is shown; null hears nothing. */
export function useTopic(topic: string | null, listener: (hint: Hint) => void): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    if (!topic) return;
    return live.subscribe(topic, (hint) => latest.current(hint));
  }, [topic]);
}

export const Feed = createContext<JobFeed | null>(null);

/** The feed of job hints; only below the providers. */
export function useJobFeed(): JobFeed {
  const feed = useContext(Feed);
  if (!feed) throw new Error("useJobFeed is used outside the providers.");
  return feed;
}
