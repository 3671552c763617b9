import { IconRepeat } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { Attempt, JobDetail } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty } from "../../ui/Faces";
import { dateTime, duration, memory, NOTHING, percent } from "../../ui/format";
import { TextLink } from "../../ui/links";
import { Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";

export function Attempts({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const columns: Column<Attempt>[] = [
    {
      key: "number",
      title: t("attempts.number"),
      align: "right",
      width: 60,
      render: (attempt) => attempt.number,
    },
    {
      key: "state",
      title: t("attempts.state"),
      width: 160,
      render: (attempt) => (
        <StatusBadge
          status={attempt.contact === "unreachable" ? "unreachable" : attempt.outcome || attempt.state}
        />
      ),
    },
    { key: "what", title: t("events.what"), render: (attempt) => attempt.sentence || NOTHING },
    {
      key: "nodes",
      title: t("job.nodes"),
      from: 900,
      render: (attempt) => [...new Set(attempt.replicas.map(({ node }) => node))].join(", ") || NOTHING,
    },
    {
      key: "started",
      title: t("job.started"),
      from: 900,
      render: (attempt) => <span className="num">{dateTime(attempt.running_at ?? attempt.placed_at)}</span>,
    },
    { key: "ran", title: t("attempts.ran"), align: "right", render: (attempt) => duration(ran(attempt)) },
    {
      key: "exit",
      title: t("job.exitCode"),
      align: "right",
      width: 90,
      render: (attempt) => attempt.exit_code ?? NOTHING,
    },
    {
      key: "use",
      title: t("job.use"),
      align: "right",
      from: 700,
      render: (attempt) => percent(attempt.use_permille),
    },
    {
      key: "memory",
      title: t("job.memoryPeak"),
      align: "right",
      from: 1100,
      render: (attempt) => memory(attempt.memory_peak_mib),
    },
    {
      key: "logs",
      title: t("logs.title"),
      render: (attempt) => (
        <TextLink
          to="/jobs/$id"
          params={{ id: job.id }}
          search={{ tab: "logs", attempt: attempt.number }}
          fz={14}
        >
          {t("logs.open")}
        </TextLink>
      ),
    },
  ];
  return (
    <Panel flush>
      {job.attempts.length === 0 ? (
        <Empty icon={<IconRepeat size={26} stroke={1.6} />} title={t("attempts.none")}>
          {t("attempts.noneHelp")}
        </Empty>
      ) : (
        <DataTable
          label={t("job.tabs.attempts")}
          columns={columns}
          rows={job.attempts}
          rowKey={(attempt) => String(attempt.number)}
        />
      )}
    </Panel>
  );
}

function ran(attempt: Attempt): number | null {
  if (!attempt.running_at) return null;
  return (attempt.ended_at ? Date.parse(attempt.ended_at) : Date.now()) - Date.parse(attempt.running_at);
}
