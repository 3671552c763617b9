import { IconChartLine } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { isEnded, type JobDetail } from "../../api/types";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { memory } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { TimeChart } from "../../ui/TimeChart";
import { byId } from "./queries";

const MINUTE_MS = 60_000;

/** What the last attempt used, minute by minute (hour by hour when it is long): chips, CPU, memory, waiting for input. */
export function MetricsTab({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const metrics = query.useQuery("get", "/api/v1/jobs/{id}/metrics", byId(job.id), {
    refetchInterval: isEnded(job.status) ? false : MINUTE_MS / 2,
  });
  if (metrics.isPending) return <Loading rows={3} />;
  if (!metrics.data) return <Failed error={metrics.error} retry={() => void metrics.refetch()} />;
  const { points } = metrics.data;
  if (points.length === 0) {
    return (
      <Panel flush>
        <Empty icon={<IconChartLine size={26} stroke={1.6} />} title={t("metrics.none")}>
          {t("metrics.noneYet")}
        </Empty>
      </Panel>
    );
  }
  const peak = Math.max(1, ...points.map((point) => point.memory_peak_mib));
  const asked = job.cpu_milli || 1000;
  const lines = [
    { label: t("metrics.chips"), colour: "var(--chart-1)", of: points.map((point) => point.use_permille) },
    {
      label: job.cpu_milli ? t("chips.cpuUse") : t("metrics.cpu"),
      colour: "var(--chart-2)",
      of: points.map((point) => (1000 * point.cpu_permille) / asked),
    },
    {
      label: t("metrics.memory", { peak: memory(peak) }),
      colour: "var(--chart-1)",
      dash: [5, 4],
      of: points.map((point) => (1000 * point.memory_mib) / peak),
    },
    {
      label: t("metrics.wait"),
      colour: "var(--chart-2)",
      dash: [5, 4],
      of: points.map((point) => point.wait_permille),
    },
  ].filter((line) => line.of.some((value) => value !== null));
  return (
    <Panel title={t("metrics.title")}>
      <TimeChart
        label={t("metrics.title")}
        height={240}
        data={[points.map((point) => Date.parse(point.at) / 1000), ...lines.map((line) => line.of)]}
        lines={lines.map(({ of: _, ...line }) => line)}
      />
    </Panel>
  );
}
