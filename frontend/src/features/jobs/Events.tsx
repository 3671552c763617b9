import { IconHistory } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { usePolling } from "../../api/live";
import type { JobEvent } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { dateTime, NOTHING, timeOfDay } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import classes from "./JobPage.module.css";

export function Events({ id }: { id: string }) {
  const { t } = useTranslation();
  const params = { params: { path: { id }, query: { limit: 200 } } };
  const events = query.useQuery("get", "/api/v1/jobs/{id}/events", params, { refetchInterval: usePolling() });
  if (events.isPending) return <Loading />;
  if (!events.data) return <Failed error={events.error} retry={() => void events.refetch()} />;
  const columns: Column<JobEvent>[] = [
    {
      key: "at",
      title: t("events.at"),
      width: 110,
      render: (event) => (
        <span className={`num ${classes.when}`} title={dateTime(event.at)}>
          {timeOfDay(event.at)}
        </span>
      ),
    },
    {
      key: "to",
      title: t("events.to"),
      width: 150,
      render: (event) =>
        event.to_state ? <StatusBadge status={event.to_state} /> : <span className="mono">{event.kind}</span>,
    },
    {
      key: "what",
      title: t("events.what"),
      render: (event) => event.sentence || event.reason_code || NOTHING,
    },
    {
      key: "attempt",
      title: t("events.attempt"),
      align: "right",
      width: 90,
      from: 700,
      render: (event) => event.attempt ?? NOTHING,
    },
    {
      key: "actor",
      title: t("events.actor"),
      width: 150,
      from: 700,
      render: (event) => <span className="quiet">{event.actor.replace(/^user:/, "") || NOTHING}</span>,
    },
  ];
  return (
    <Panel flush>
      {events.data.items.length === 0 ? (
        <Empty icon={<IconHistory size={26} stroke={1.6} />} title={t("events.none")} />
      ) : (
        <DataTable
          label={t("job.tabs.events")}
          columns={columns}
          rows={events.data.items}
          rowKey={(event) => String(event.id)}
        />
      )}
    </Panel>
  );
}
