/** Where one stands: what runs, what waits, what needs a look, and whether the cluster earns its keep. */

import { IconAlertTriangle, IconClock, IconCpu, IconPlayerPlay, IconPlus } from "@tabler/icons-react";
import { useSearch } from "@tanstack/react-router";
import { Fragment, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { usePolling } from "../../api/live";
import { useMe } from "../../api/session";
import type { Cluster } from "../../api/types";
import { Failed, Loading } from "../../ui/Faces";
import { count, milli, percent } from "../../ui/format";
import { ButtonLink, TextLink } from "../../ui/links";
import { PageHead, Panel } from "../../ui/Panel";
import { QuotaBar, QuotaLegend } from "../../ui/QuotaBar";
import { TimeChart } from "../../ui/TimeChart";
import { JobList } from "./JobList";
import classes from "./OverviewPage.module.css";

const RUNNING = "running,starting,stopping,cancelling,unreachable";
const WAITING = "queued,held";
const FAILED = "failed,timed_out";
const REFRESH_MS = 10_000;
const TEAMS_SHOWN = 2;
const QUOTAS_SHOWN = 2;

export function OverviewPage() {
  const { t } = useTranslation();
  const me = useMe();
  return (
    <>
      <PageHead
        name={t("nav.overview")}
        title={t("overview.title", { name: me.user.username })}
        sub={me.organization.name}
      >
        <ButtonLink to="/submit" leftSection={<IconPlus size={17} />}>
          {t("nav.submit")}
        </ButtonLink>
      </PageHead>
      <Tiles />
      <div className={classes.grid}>
        <ClusterChart />
        <Quotas />
      </div>
      <div className={classes.halves}>
        <JobList
          title={t("overview.mine")}
          filters={{ status: `${RUNNING},${WAITING}`, user: me.user.username }}
          empty={t("overview.mineEmpty")}
        />
        <JobList
          title={t("overview.attention")}
          filters={{ status: `${FAILED},unreachable`, user: me.user.username }}
          empty={t("overview.attentionEmpty")}
        />
      </div>
    </>
  );
}

function Tiles() {
  const { t } = useTranslation();
  const me = useMe();
  const { team } = useSearch({ strict: false });
  const user = me.user.username;
  const refetchInterval = usePolling();
  const counts = query.useQuery(
    "get",
    "/api/v1/jobs/counts",
    { params: { query: { user, team } } },
    { refetchInterval },
  );
  const cluster = useClusterState();
  const sum = (statuses: string) =>
    counts.data ? count(statuses.split(",").reduce((all, one) => all + (counts.data[one] ?? 0), 0)) : "…";
  const chips = cluster.data?.chips;
  return (
    <div className={classes.tiles}>
      <Tile
        icon={<IconPlayerPlay size={18} />}
        colour="running"
        label={t("overview.running")}
        value={sum(RUNNING)}
        to={{ status: RUNNING, user }}
      />
      <Tile
        icon={<IconClock size={18} />}
        colour="queued"
        label={t("overview.queued")}
        value={sum(WAITING)}
        to={{ status: WAITING, user }}
      />
      <Tile
        icon={<IconAlertTriangle size={18} />}
        colour="failed"
        label={t("overview.failed")}
        value={sum(FAILED)}
        to={{ status: FAILED, user }}
      />
      <TextLink to="/cluster" className={classes.tile} underline="never">
        <span className={classes.label}>
          <IconCpu size={18} color="var(--accent-text)" aria-hidden /> {t("overview.chips")}
        </span>
        <b className="num">
          {chips ? milli(chips.allocated_milli) : "…"} <small>/ {chips ? count(chips.total) : "…"}</small>
        </b>
        <span className={`${classes.note} num`}>
          {chips
            ? t("overview.chipsNote", { idle: count(chips.idle), use: percent(chips.mean_use_permille) })
            : ""}
        </span>
      </TextLink>
    </div>
  );
}

type TileProps = {
  icon: ReactNode;
  colour: string;
  label: string;
  value: string;
  to: { status: string; user: string };
};

function Tile({ icon, colour, label, value, to }: TileProps) {
  const { t } = useTranslation();
  return (
    <TextLink to="/jobs" search={to} className={classes.tile} underline="never">
      <span className={classes.label}>
        <span style={{ color: `var(--status-${colour})`, display: "inline-flex" }} aria-hidden>
          {icon}
        </span>
        {label}
      </span>
      <b className="num">{value}</b>
      <span className={classes.note}>{t("overview.open")}</span>
    </TextLink>
  );
}

function useClusterState() {
  return query.useQuery("get", "/api/v1/cluster", undefined, { refetchInterval: REFRESH_MS });
}

function ClusterChart() {
  const { t } = useTranslation();
  const cluster = useClusterState();
  if (cluster.isPending) {
    return (
      <Panel title={t("overview.chart")}>
        <Loading rows={3} />
      </Panel>
    );
  }
  if (!cluster.data) return <Failed error={cluster.error} retry={() => void cluster.refetch()} />;
  const { series, nodes, cycle, chips } = cluster.data;
  const { allocated, used } = sharesOf(series, chips.total);
  const gap = gapOf(allocated, used);
  return (
    <Panel
      title={t("overview.chart")}
      aside={
        <span className="num">
          {t("overview.nodes", { ready: count(nodes.ready), total: count(nodes.total) })}
          {cycle.error && !cycle.ok && <span className={classes.broken}> · {t("overview.cycleFailed")}</span>}
        </span>
      }
    >
      <TimeChart
        label={t("overview.chart")}
        height={232}
        data={[series.at.map(seconds), allocated, used]}
        lines={[
          { label: t("overview.allocated"), colour: "var(--chart-1)", fill: true },
          { label: t("overview.used"), colour: "var(--chart-2)", fill: true },
        ]}
      />
      {gap !== null && <p className={classes.gap}>{t("overview.gap", { share: percent(gap) })}</p>}
    </Panel>
  );
}

type Series = Cluster["series"];

/** The series as shares of all chips, in permille. */
function sharesOf(series: Series, total: number): { allocated: Series["use"]; used: Series["use"] } {
  const allocated = series.allocated.map((milli) => (milli === null || total === 0 ? null : milli / total));
  return { allocated, used: series.use };
}

/** Allocated but unused now, in permille; null without figures, or when nothing is wasted. */
function gapOf(allocated: (number | null)[], use: (number | null)[]): number | null {
  const [given, used] = [allocated.at(-1), use.at(-1)];
  if (given === null || given === undefined || used === null || used === undefined) return null;
  return given - used > 0 ? given - used : null;
}

function seconds(at: number | string): number {
  const ms = typeof at === "string" ? Date.parse(at) : at;
  return ms > 100_000_000_000 ? ms / 1000 : ms;
}

function Quotas() {
  const { t } = useTranslation();
  const { team } = useSearch({ strict: false });
  const teams = query.useQuery(
    "get",
    "/api/v1/teams",
    { params: { query: { limit: 200 } } },
    { refetchInterval: REFRESH_MS },
  );
  const shown = (teams.data?.items ?? []).filter((one) => !team || one.id === team);
  const some = shown.filter((one) => one.quotas.length > 0).slice(0, TEAMS_SHOWN);
  return (
    <Panel
      title={t("overview.quota")}
      aside={
        <TextLink to="/teams" fz={13}>
          {t("nav.teams")}
        </TextLink>
      }
    >
      {teams.isPending ? (
        <Loading rows={3} />
      ) : !teams.data ? (
        <Failed error={teams.error} />
      ) : some.length === 0 ? (
        <p className="quiet">{t("teams.noQuota")}</p>
      ) : (
        <div className={classes.quotas}>
          {some.map((one) => (
            <Fragment key={one.id}>
              <h3>{one.name}</h3>
              {one.quotas.slice(0, QUOTAS_SHOWN).map((quota) => (
                <QuotaBar key={quota.chip_type} label={quota.chip_type} share={quota} />
              ))}
            </Fragment>
          ))}
          <QuotaLegend />
        </div>
      )}
    </Panel>
  );
}
