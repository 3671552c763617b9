/** What makes jobs by the clock. */

import { Button, Group, Modal } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconCalendarTime } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../../api/client";
import { usePolling } from "../../api/live";
import { asProblem } from "../../api/problem";
import type { Schedule, Status } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { duration } from "../../ui/format";
import { TextLink } from "../../ui/links";
import { PageHead, Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";

const REFRESH_MS = 5000;

export function SchedulesPage() {
  const { t } = useTranslation();
  const { team } = useSearch({ strict: false });
  const options = { refetchInterval: Math.min(usePolling(), REFRESH_MS) };
  const params = { params: { query: { team, limit: 200 } } };
  const found = query.useQuery("get", "/api/v1/schedules", params, options);
  return (
    <>
      <PageHead title={t("schedules.title")} sub={t("schedules.sub")} />
      <Panel flush>
        {found.isPending ? (
          <Loading />
        ) : !found.data ? (
          <Failed error={found.error} retry={() => void found.refetch()} />
        ) : found.data.items.length === 0 ? (
          <Empty icon={<IconCalendarTime size={26} stroke={1.6} />} title={t("schedules.empty")}>
            {t("schedules.emptyHelp")}
          </Empty>
        ) : (
          <Rows schedules={found.data.items} />
        )}
      </Panel>
    </>
  );
}

function Rows({ schedules }: { schedules: Schedule[] }) {
  const { t } = useTranslation();
  const columns: Column<Schedule>[] = [
    { key: "name", title: t("schedules.name"), render: (one) => <Name schedule={one} /> },
    { key: "when", title: t("schedules.when"), render: (one) => <When schedule={one} />, from: 900 },
    { key: "next", title: t("schedules.next"), render: (one) => <Next schedule={one} /> },
    { key: "last", title: t("schedules.last"), render: (one) => <Last schedule={one} />, from: 700 },
    { key: "do", title: "", render: (one) => <Doing schedule={one} />, align: "right" },
  ];
  return (
    <DataTable label={t("schedules.title")} columns={columns} rows={schedules} rowKey={(one) => one.id} />
  );
}

function Name({ schedule }: { schedule: Schedule }) {
  return (
    <>
      <b>{schedule.name}</b>{" "}
      <small className="quiet">
        {schedule.team.name} / {schedule.user}
      </small>
    </>
  );
}

function When({ schedule }: { schedule: Schedule }) {
  return (
    <>
      <span className="mono">{schedule.cron}</span> <small className="quiet">{schedule.timezone}</small>
    </>
  );
}

function Next({ schedule }: { schedule: Schedule }) {
  const { t } = useTranslation();
  const now = useNow();
  if (!schedule.next_at) return t("schedules.paused");
  const left = Date.parse(schedule.next_at) - now;
  return left > 0 ? t("schedules.in", { time: duration(left) }) : t("schedules.now");
}

function Last({ schedule }: { schedule: Schedule }) {
  const { t } = useTranslation();
  if (schedule.problem) return <small>{schedule.problem}</small>;
  if (!schedule.last_job) return t("schedules.none");
  return (
    <TextLink to="/jobs/$id" params={{ id: schedule.last_job.id }} fz="inherit">
      <StatusBadge status={schedule.last_job.status as Status} />
    </TextLink>
  );
}

/** What the server allows: pause or resume, and delete once that is confirmed. */
function Doing({ schedule }: { schedule: Schedule }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [asks, setAsks] = useState(false);
  const path = { params: { path: { id: schedule.id } } };
  async function carryOut(act: () => Promise<unknown>) {
    try {
      await act();
    } catch (error) {
      notifications.show({ color: "red", title: t("job.refused"), message: asProblem(error).message });
    }
    setAsks(false);
    await client.invalidateQueries({ queryKey: ["get", "/api/v1/schedules"] });
  }
  if (!schedule.may_change) return null;
  const other = () =>
    schedule.paused
      ? body(api.POST("/api/v1/schedules/{id}/resume", path))
      : body(api.POST("/api/v1/schedules/{id}/pause", path));
  const remove = () => api.DELETE("/api/v1/schedules/{id}", { params: path.params });
  return (
    <Group gap={8} justify="flex-end" wrap="nowrap">
      <Button size="compact-sm" variant="default" onClick={() => void carryOut(other)}>
        {t(schedule.paused ? "schedules.resume" : "schedules.pause")}
      </Button>
      <Button size="compact-sm" variant="default" onClick={() => setAsks(true)}>
        {t("schedules.delete")}
      </Button>
      <Modal
        opened={asks}
        onClose={() => setAsks(false)}
        title={t("schedules.deleteTitle", { name: schedule.name })}
      >
        <p>{t("schedules.deleteHelp")}</p>
        <Group justify="flex-end">
          <Button variant="default" onClick={() => setAsks(false)}>
            {t("schedules.cancel")}
          </Button>
          <Button color="red" onClick={() => void carryOut(remove)}>
            {t("schedules.delete")}
          </Button>
        </Group>
      </Modal>
    </Group>
  );
}
