/** One job: what it is doing, why, and what can be done about it. */

import { Anchor, CopyButton, Tabs, UnstyledButton } from "@mantine/core";
import {
  IconArrowsExchange,
  IconChevronLeft,
  IconCopy,
  IconHourglassHigh,
  IconZzz,
} from "@tabler/icons-react";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { useTranslation } from "react-i18next";
import { useJobFeed, useTopic } from "../../api/live";
import type { JobDetail } from "../../api/types";
import { Failed, Loading } from "../../ui/Faces";
import { duration, percent, timeOfDay } from "../../ui/format";
import { jobName } from "../../ui/jobName";
import { TextLink } from "../../ui/links";
import { PageHead, Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";
import { Actions } from "./Actions";
import { Attempts } from "./Attempts";
import { ChipsTab } from "./ChipsTab";
import { Events } from "./Events";
import classes from "./JobPage.module.css";
import { MetricsTab } from "./MetricsTab";
import { OutputsTab } from "./OutputsTab";
import { Phases } from "./Phases";
import { useJob } from "./queries";
import { Summary } from "./Summary";
import { WhyPending } from "./WhyPending";

const LogsTab = lazy(() => import("./LogsTab"));
const SpecTab = lazy(() => import("./SpecTab"));

const TABS = ["summary", "why", "logs", "outputs", "chips", "metrics", "events", "attempts", "spec"] as const;
type Tab = (typeof TABS)[number];

export function JobPage() {
  const { id } = useParams({ from: "/shell/jobs/$id" });
  const feed = useJobFeed();
  useTopic(`job:${id}`, feed.receive);
  const job = useJob(id);
  if (job.isPending) return <Loading />;
  if (!job.data) return <Failed error={job.error} retry={() => void job.refetch()} />;
  return <JobView job={job.data} />;
}

function JobView({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const search = useSearch({ from: "/shell/jobs/$id" });
  const tab: Tab = TABS.find((one) => one === search.tab) ?? (job.status === "queued" ? "why" : "summary");
  return (
    <>
      <TextLink to="/jobs" className={classes.back}>
        <IconChevronLeft size={15} aria-hidden /> {t("jobs.title")}
      </TextLink>
      <PageHead name={jobName(job)} title={<Title job={job} />} sub={<Subtitle job={job} />}>
        <Actions job={job} />
      </PageHead>
      <Panel label={t("job.phases")}>
        <Phases job={job} />
        {job.sentence && <p className={classes.sentence}>{job.sentence}</p>}
        {job.idle && <Idle idle={job.idle} />}
        {job.straggler && <Straggler straggler={job.straggler} />}
        {job.lending && <Lending lending={job.lending} />}
      </Panel>
      <Tabs
        className={classes.tabs}
        value={tab}
        keepMounted={false}
        onChange={(next) =>
          void navigate({ to: ".", search: (old) => ({ ...old, tab: next ?? undefined }), replace: true })
        }
      >
        <Tabs.List>
          {TABS.map((one) => (
            <Tabs.Tab key={one} value={one}>
              {t(`job.tabs.${one}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value={tab} pt={16}>
          <Suspense fallback={<Loading rows={4} />}>
            <TabBody tab={tab} job={job} />
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function TabBody({ tab, job }: { tab: Tab; job: JobDetail }) {
  switch (tab) {
    case "summary":
      return <Summary job={job} />;
    case "why":
      return <WhyPending id={job.id} />;
    case "logs":
      return <LogsTab job={job} />;
    case "outputs":
      return <OutputsTab job={job} />;
    case "chips":
      return <ChipsTab job={job} />;
    case "metrics":
      return <MetricsTab job={job} />;
    case "events":
      return <Events id={job.id} />;
    case "attempts":
      return <Attempts job={job} />;
    case "spec":
      return <SpecTab job={job} />;
  }
}

/** That its chips are not used, and what its own policy does about it. */
function Idle({ idle }: { idle: NonNullable<JobDetail["idle"]> }) {
  const { t } = useTranslation();
  const now = useNow();
  const next = { notify: "", suspend: "job.idleSuspends", stop: "job.idleStops" } as const;
  return (
    <p className={classes.idle} role="status">
      <IconZzz size={16} aria-hidden />
      <span>
        {t("job.idle", { use: percent(idle.use_permille), time: duration(now - Date.parse(idle.since)) })}{" "}
        {idle.acts_at && next[idle.action] && t(next[idle.action], { at: timeOfDay(idle.acts_at) })}
      </span>
    </p>
  );
}

/** What holds it back, or makes it fall behind its array, and when its own policy moves it. */
function Straggler({ straggler }: { straggler: NonNullable<JobDetail["straggler"]> }) {
  const { t } = useTranslation();
  const now = useNow();
  const { since, sentence, moves_at: movesAt } = straggler;
  const next = straggler.leaving_since
    ? t("job.stragglerLeaves")
    : movesAt && t("job.stragglerMoves", { at: timeOfDay(movesAt) });
  return (
    <p className={classes.idle} role="status">
      <IconHourglassHigh size={16} aria-hidden />
      <span>
        {t("job.straggler", { sentence, time: duration(now - Date.parse(since)) })} {next}
      </span>
    </p>
  );
}

/** That it is a guest on chips lent to it, or that its own idle ones are lent. */
function Lending({ lending }: { lending: NonNullable<JobDetail["lending"]> }) {
  const { t } = useTranslation();
  const now = useNow();
  const halted = lending.halted_at;
  const said = {
    guest: halted ? "job.guestHalted" : "job.guest",
    owner: halted ? "job.offerHalted" : "job.offer",
  } as const;
  return (
    <p className={classes.idle} role="status">
      <IconArrowsExchange size={16} aria-hidden />
      <span>{t(said[lending.role], { time: duration(now - Date.parse(halted ?? lending.since)) })}</span>
    </p>
  );
}

function Title({ job }: { job: JobDetail }) {
  return (
    <span className={classes.title}>
      {jobName(job)} <StatusBadge status={job.status} />
    </span>
  );
}

function Subtitle({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  return (
    <span className={classes.subtitle}>
      <CopyButton value={job.id}>
        {({ copied, copy }) => (
          <UnstyledButton className={`mono ${classes.id}`} onClick={copy} title={t("job.copyId")}>
            {job.id} {copied ? t("job.copied") : <IconCopy size={13} aria-hidden />}
          </UnstyledButton>
        )}
      </CopyButton>
      <span>
        {job.team.name} / {job.user}
      </span>
      {job.schedule && (
        <TextLink to="/schedules" fz={14}>
          {t("job.madeBy", { name: job.schedule.name })}
        </TextLink>
      )}
      {job.set && (
        <Anchor href={`/jobs?set=${encodeURIComponent(job.set)}`} fz={14}>
          {t("job.partOf", { index: job.index ?? 0 })}
        </Anchor>
      )}
    </span>
  );
}
