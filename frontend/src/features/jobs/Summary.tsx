import { useTranslation } from "react-i18next";
import type { JobDetail } from "../../api/types";
import { count, dateTime, figure, memory, milli, NOTHING } from "../../ui/format";
import { Meter } from "../../ui/Meter";
import { Facts, Panel } from "../../ui/Panel";
import classes from "./JobPage.module.css";
import { LastLines } from "./LastLines";
import { Order } from "./Order";

export function Summary({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const { type, total_milli, replicas, min_replicas, max_replicas, milli_per_replica } = job.chips;
  const range = max_replicas > min_replicas ? ` (${min_replicas}–${max_replicas})` : "";
  const chips = total_milli === 0 ? t("jobs.cpuOnly") : `${milli(total_milli)} × ${type ?? t("job.anyChip")}`;
  return (
    <div className={classes.grid}>
      <div className={classes.column}>
        {job.started_at && <LastLines job={job} />}
        {job.progress && <Said progress={job.progress} />}
        <Order job={job} />
        {job.advice.length > 0 && (
          <Panel title={t("job.advice")}>
            <ul className={classes.advice}>
              {job.advice.map((one) => (
                <li key={one.field}>
                  <Sentence text={one.sentence} />
                </li>
              ))}
            </ul>
          </Panel>
        )}
        <Panel title={t("job.result")}>
          <Facts
            facts={[
              { label: t("job.exitCode"), value: job.exit_code ?? NOTHING },
              { label: t("job.use"), value: <Meter permille={job.use_permille} label={t("job.use")} /> },
              { label: t("job.memoryPeak"), value: memory(job.memory_peak_mib) },
              { label: t("job.nodes"), value: job.nodes.join(", ") || NOTHING },
              { label: t("job.started"), value: dateTime(job.started_at) },
              { label: t("job.ended"), value: dateTime(job.ended_at) },
              ...(job.deadline ? [{ label: t("job.deadline"), value: dateTime(job.deadline) }] : []),
            ]}
          />
        </Panel>
      </div>
      <Panel title={t("job.asked")}>
        <Facts
          facts={[
            { label: t("job.chips"), value: chips },
            {
              label: t("job.replicas"),
              value: `${replicas}${range}${replicas > 1 ? ` × ${milli(milli_per_replica)}` : ""}`,
            },
            { label: t("job.cpus"), value: job.cpu_milli > 0 ? milli(job.cpu_milli) : t("job.withChips") },
            { label: t("job.memory"), value: job.memory_mib > 0 ? memory(job.memory_mib) : t("job.noLimit") },
            { label: t("job.priority"), value: job.priority },
            { label: t("job.preemptible"), value: job.preemptible ? t("yes") : t("no") },
            { label: t("job.type"), value: job.type },
            { label: t("job.attempts"), value: job.attempt },
            { label: t("job.labels"), value: <Labels labels={job.labels} />, wide: true },
          ]}
        />
      </Panel>
    </div>
  );
}

/** What the job says of itself, and what of that was refused. */
function Said({ progress }: { progress: NonNullable<JobDetail["progress"]> }) {
  const { t } = useTranslation();
  const { step, throughput, loss, saved_step, saved_at, problem } = progress;
  const saved =
    saved_step === null
      ? dateTime(saved_at)
      : t("job.savedAt", { step: count(saved_step), at: dateTime(saved_at) });
  return (
    <Panel title={t("job.progress")}>
      <Facts
        facts={[
          { label: t("job.step"), value: step === null ? NOTHING : count(step) },
          { label: t("job.loss"), value: figure(loss) },
          {
            label: t("job.throughput"),
            value: throughput === null ? NOTHING : t("job.perSecond", { number: figure(throughput) }),
          },
          { label: t("job.checkpoint"), value: saved_at ? saved : NOTHING },
          { label: t("job.said"), value: dateTime(progress.at) },
          { label: t("job.refusedWords"), value: problem, wide: true },
        ]}
      />
    </Panel>
  );
}

function Labels({ labels }: { labels: JobDetail["labels"] }) {
  const entries = Object.entries(labels ?? {});
  if (entries.length === 0) return NOTHING;
  return (
    <span className={classes.labels}>
      {entries.map(([key, value]) => (
        <span key={key} className="mono">
          {key}: {value}
        </span>
      ))}
    </span>
  );
}

/** What stands between backticks is as one writes it in a spec. */
function Sentence({ text }: { text: string }) {
  return text.split("`").map((part, index) =>
    index % 2 === 1 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one sentence never move
      <code key={index} className="mono">
        {part}
      </code>
    ) : (
      part
    ),
  );
}
