import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { isEnded, type Job } from "../../api/types";
import type { Column } from "../../ui/DataTable";
import { ago, dateTime, duration, milli, NOTHING } from "../../ui/format";
import { jobName } from "../../ui/jobName";
import { TextLink } from "../../ui/links";
import { Meter } from "../../ui/Meter";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";
import classes from "./JobsPage.module.css";

export function useJobColumns(): Column<Job>[] {
  const { t } = useTranslation();
  return useMemo(
    () => [
      { key: "job", title: t("jobs.column.job"), sort: "name", render: (job) => <Name job={job} /> },
      {
        key: "status",
        title: t("jobs.column.status"),
        width: 130,
        render: (job) => <StatusBadge status={job.status} />,
      },
      {
        key: "team",
        title: t("jobs.column.team"),
        from: 900,
        render: (job) => (
          <span className={classes.team}>
            {job.team.name} <span className="quiet">/ {job.user}</span>
          </span>
        ),
      },
      {
        key: "chips",
        title: t("jobs.column.chips"),
        align: "right",
        width: 90,
        render: (job) => <Chips job={job} />,
      },
      {
        key: "use",
        title: t("jobs.column.use"),
        width: 130,
        from: 700,
        render: (job) => <Meter permille={job.use_permille} label={t("jobs.column.use")} />,
      },
      {
        key: "time",
        title: t("jobs.column.time"),
        width: 130,
        from: 700,
        render: (job) => <Times job={job} />,
      },
      {
        key: "why",
        title: t("jobs.column.why"),
        width: "25%",
        from: 1100,
        render: (job) => <Why job={job} />,
      },
      {
        key: "submitted",
        title: t("jobs.column.submitted"),
        sort: "submitted_at",
        width: 112,
        from: 900,
        render: (job) => <Submitted at={job.submitted_at} />,
      },
    ],
    [t],
  );
}

function Name({ job }: { job: Job }) {
  return (
    <span className={classes.name}>
      <TextLink to="/jobs/$id" params={{ id: job.id }} fw={600} c="var(--text)" fz={14}>
        {jobName(job)}
      </TextLink>
      <span className="mono quiet">{job.id}</span>
    </span>
  );
}

function Chips({ job }: { job: Job }) {
  const { t } = useTranslation();
  const { type, total_milli, replicas, milli_per_replica } = job.chips;
  if (total_milli === 0) return <span className="quiet">{t("jobs.cpuOnly")}</span>;
  const each = replicas > 1 ? `${replicas} × ${milli(milli_per_replica)}` : "";
  return (
    <span className={classes.stack} title={[type, each].filter(Boolean).join(" · ")}>
      <span>{milli(total_milli)}</span>
      <small className="quiet">{type ?? each}</small>
    </span>
  );
}

/** Run time while and after it ran, with the wait before it; only the wait while it waits. */
function Times({ job }: { job: Job }) {
  const { t } = useTranslation();
  const now = useNow(1000, !isEnded(job.status));
  const alive = job.started_at !== null && job.ended_at === null;
  const run = alive ? now - Date.parse(job.started_at!) : job.run_ms;
  const waiting = job.started_at === null && !isEnded(job.status);
  const wait = waiting ? now - Date.parse(job.submitted_at) : job.wait_ms;
  return (
    <span className={`${classes.stack} num`}>
      <span>{job.started_at ? duration(run) : NOTHING}</span>
      <small className="quiet">{t("jobs.waited", { time: duration(wait) })}</small>
    </span>
  );
}

function Why({ job }: { job: Job }) {
  if (job.status === "running" || job.status === "succeeded")
    return <span className={classes.where}>{job.nodes.join(", ")}</span>;
  return <span className={classes.why}>{job.sentence || NOTHING}</span>;
}

function Submitted({ at }: { at: string }) {
  const now = useNow(10_000);
  return (
    <span className="quiet num" title={dateTime(at)}>
      {ago(at, now)}
    </span>
  );
}
