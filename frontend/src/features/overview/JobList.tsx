import { useSearch } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { usePolling } from "../../api/live";
import { Failed, Loading } from "../../ui/Faces";
import { ago } from "../../ui/format";
import { jobName } from "../../ui/jobName";
import { TextLink } from "../../ui/links";
import { Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";
import classes from "./OverviewPage.module.css";

const SHOWN = 6;

type Filters = { status: string; user: string };

/** The newest jobs of a filter in a few lines; the heading leads to all of them. */
export function JobList({ title, filters, empty }: { title: string; filters: Filters; empty: string }) {
  const { t } = useTranslation();
  const { team } = useSearch({ strict: false });
  const now = useNow(10_000);
  const params = { params: { query: { ...filters, team, limit: SHOWN, sort: "-submitted_at" } } };
  const jobs = query.useQuery("get", "/api/v1/jobs", params, { refetchInterval: usePolling() });
  return (
    <Panel
      flush
      title={title}
      aside={
        <TextLink to="/jobs" search={filters} fz={13}>
          {t("overview.all")}
        </TextLink>
      }
    >
      {jobs.isPending ? (
        <Loading rows={3} />
      ) : !jobs.data ? (
        <Failed error={jobs.error} retry={() => void jobs.refetch()} />
      ) : jobs.data.items.length === 0 ? (
        <p className={classes.none} data-face="empty">
          {empty}
        </p>
      ) : (
        <ul className={classes.list}>
          {jobs.data.items.map((job) => (
            <li key={job.id}>
              <StatusBadge status={job.status} />
              <span className={classes.what}>
                <TextLink to="/jobs/$id" params={{ id: job.id }} fw={600} c="var(--text)" fz={14}>
                  {jobName(job)}
                </TextLink>
                <small className="quiet">{job.sentence}</small>
              </span>
              <small className="quiet num">{ago(job.submitted_at, now)}</small>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
