import { useRef } from "react";
import { useTranslation } from "react-i18next";
import type { JobDetail, Usage } from "../../api/types";
import { TimeChart } from "../../ui/TimeChart";

/** Points kept: five minutes at one a second. */
const KEPT = 300;

/** Mean use of the job's chips and of its CPU since the page was opened, in a ring outside the query cache. */
export function UseChart({ usage, job }: { usage: Usage; job: JobDetail }) {
  const { t } = useTranslation();
  const ring = useRef<{ at: number; chips: number | null; cpu: number | null }[]>([]);
  const at = usage.as_of ? Date.parse(usage.as_of) / 1000 : 0;
  if (at > 0 && at > (ring.current.at(-1)?.at ?? 0)) {
    const chips = mean(usage.replicas.flatMap((replica) => replica.chips.map((chip) => chip.use_permille)));
    const cores = mean(usage.replicas.map((replica) => replica.cpu_permille));
    const cpu = cores === null || job.cpu_milli === 0 ? null : (1000 * cores) / job.cpu_milli;
    ring.current = [...ring.current.slice(1 - KEPT), { at, chips, cpu }];
  }
  const points = ring.current;
  const lines = [
    {
      label: t("chips.meanUse"),
      colour: "var(--chart-1)",
      fill: true,
      of: points.map((point) => point.chips),
    },
  ];
  if (job.cpu_milli > 0) {
    lines.push({
      label: t("chips.cpuUse"),
      colour: "var(--chart-2)",
      fill: false,
      of: points.map((point) => point.cpu),
    });
  }
  return (
    <TimeChart
      label={t("chips.sinceOpened")}
      height={150}
      data={[points.map((point) => point.at), ...lines.map((line) => line.of)]}
      lines={lines.map(({ label, colour, fill }) => ({ label, colour, fill }))}
    />
  );
}

function mean(values: (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
