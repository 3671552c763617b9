/** Where hints meet the query cache: newer versions patch what is shown, unknown ones refresh it, gaps refresh all. */

import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useRef, useSyncExternalStore } from "react";
import { type Connection, type Hint, type LiveSocket, live } from "./socket";
import { Batches, browserTime, type ThrottleWorld } from "./throttle";
import type { Job } from "./types";
import { VersionGate } from "./versions";

/** Patches reach the page at most this often, unless a state changes. */
const PATCH_INTERVAL_MS = 1000;
/** Counts and lists are read again at most this often, however many jobs move. */
const REFRESH_INTERVAL_MS = 1000;
/** Pages read again this often where sockets are blocked. */
export const POLL_MS = 15_000;
/** With a live socket a look this often is only a safety net. */
const SAFETY_MS = 60_000;

type JobPage = { items: Job[]; next_cursor: string | null };
type JobPages = InfiniteData<JobPage>;
const JOB_LISTS = ["get", "/api/v1/jobs"];

function isPages(list: unknown): list is JobPages {
  return typeof list === "object" && list !== null && "pages" in list;
}

/** What a hint tells of a job: its new status, or a whole job, or only that there is news. */
type Patch = { version: number; change: Partial<Job> };

export class JobFeed {
  private readonly gate = new VersionGate();
  private readonly batches: Batches<Hint>;
  private readonly refreshes: Batches<string>;

  constructor(
    private readonly client: QueryClient,
    world: ThrottleWorld = browserTime,
  ) {
    this.batches = new Batches((batch) => this.apply(batch), PATCH_INTERVAL_MS, world);
    this.refreshes = new Batches((batch) => this.refresh(batch), REFRESH_INTERVAL_MS, world);
  }

  /** Take a hint up; a version of a job that is not newer than the known one is ignored. */
  receive = (hint: Hint): void => {
    if (hint.kind === "team") this.refreshes.add("team");
    if (hint.kind !== "job" && hint.kind !== "verdict") return;
    // A verdict tells why a job waits; it does not change the job's version.
    if (hint.kind === "job" && !this.gate.accepts(hint.id, hint.version)) return;
    this.batches.add(hint, hint.kind === "job");
  };

  /** After a gap nothing is known: the next hint of each job counts. */
  forget(): void {
    this.gate.clear();
  }

  private apply(batch: Hint[]): void {
    const patches = new Map(batch.map((hint) => [hint.id, patchOf(hint)]));
    this.client.setQueriesData<JobPages | JobPage>({ queryKey: JOB_LISTS }, (old) => {
      if (!old) return old;
      if (!isPages(old)) return patchPage(old, patches);
      return { ...old, pages: old.pages.map((page) => patchPage(page, patches)) };
    });
    for (const [id, patch] of patches) this.patchOne(id, patch);
    this.refreshes.add("jobs");
  }

  private patchOne(id: string, patch: Patch): void {
    const key = ["get", "/api/v1/jobs/{id}", { params: { path: { id } } }];
    this.client.setQueryData<Job>(key, (old) => old && patched(old, patch));
    // The detail holds more than a hint tells: attempts, allowed actions, the story.
    void this.client.invalidateQueries({ queryKey: key });
    for (const part of ["explain", "events"]) {
      const queryKey = ["get", `/api/v1/jobs/{id}/${part}`, { params: { path: { id } } }];
      void this.client.invalidateQueries({ queryKey });
    }
  }

  private refresh(batch: string[]): void {
    void this.client.invalidateQueries({ queryKey: ["get", "/api/v1/jobs/counts"] });
    void this.client.invalidateQueries({ queryKey: JOB_LISTS }, { cancelRefetch: false });
    if (!batch.includes("team")) return;
    for (const path of ["/api/v1/teams", "/api/v1/quota-requests"])
      void this.client.invalidateQueries({ queryKey: ["get", path] });
  }
}

function patchOf(hint: Hint): Patch {
  const data = hint.data as Partial<Job> | undefined | null;
  const version = hint.kind === "job" ? hint.version : 0;
  return { version, change: typeof data === "object" && data !== null && data.status ? data : {} };
}

function patchPage(page: JobPage, patches: Map<string, Patch>): JobPage {
  if (!page.items.some((job) => patches.has(job.id))) return page;
  return { ...page, items: page.items.map((job) => patched(job, patches.get(job.id))) };
}

/** The job with the change, if that is newer; an answer fetched meanwhile is not overwritten by an older hint. */
export function patched(job: Job, patch: Patch | undefined): Job {
  if (!patch || patch.version <= job.version) return job;
  // Only a whole job brings its version along: a status alone leaves the rest to be read again.
  return { ...job, ...patch.change, version: patch.change.version ?? job.version };
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

/** How often to read again, in milliseconds: rarely while hints arrive, every 15 s where they cannot. */
export function usePolling(): number {
  return useConnection().state === "live" ? SAFETY_MS : POLL_MS;
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
