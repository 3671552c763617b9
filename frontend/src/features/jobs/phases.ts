/** The story of a job in time: waiting, starting, running, and again after each attempt that was taken back. */

import type { JobDetail } from "../../api/types";

export type Phase = {
  kind: "queued" | "starting" | "running";
  from: number;
  to: number;
  attempt: number | null;
};

/** The phases in order, without gaps; `now` ends the last one of a job that lives. Times in milliseconds. */
export function phasesOf(job: JobDetail, now: number): Phase[] {
  const phases: Phase[] = [];
  const add = (kind: Phase["kind"], from: number, to: number, attempt: number | null) => {
    if (to > from) phases.push({ kind, from, to, attempt });
  };
  const end = at(job.ended_at) ?? now;
  let reached = at(job.submitted_at) ?? now;
  for (const attempt of [...job.attempts].sort((a, b) => a.number - b.number)) {
    const placed = at(attempt.placed_at);
    if (placed === null) continue;
    const over = at(attempt.ended_at) ?? end;
    const running = at(attempt.running_at);
    add("queued", reached, placed, null);
    add("starting", placed, running ?? over, attempt.number);
    if (running !== null) add("running", running, over, attempt.number);
    reached = Math.max(reached, over);
  }
  add("queued", reached, end, null);
  return phases;
}

/** How long all phases of `kind` took together, in milliseconds. */
export function total(phases: Phase[], kind: Phase["kind"]): number {
  return phases.filter((phase) => phase.kind === kind).reduce((sum, phase) => sum + phase.to - phase.from, 0);
}

function at(time: string | null): number | null {
  return time === null ? null : Date.parse(time);
}
