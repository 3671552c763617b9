import { Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { isEnded, type JobDetail } from "../../api/types";
import { dateTime, duration } from "../../ui/format";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";
import classes from "./Phases.module.css";
import { phasesOf, total } from "./phases";

const KINDS = ["queued", "starting", "running"] as const;
/** A phase is never drawn thinner than this share of the bar, so that a short start stays visible. */
const THINNEST_PERCENT = 0.6;

export function Phases({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const now = useNow(1000, !isEnded(job.status));
  const phases = phasesOf(job, now);
  return (
    <div>
      <div className={classes.bar} aria-hidden>
        {phases.map((phase) => (
          <Tooltip
            key={`${phase.kind}-${phase.from}`}
            label={`${t(`phase.${phase.kind}`)}${phase.attempt ? ` · ${t("job.attempt", { number: phase.attempt })}` : ""} · ${duration(phase.to - phase.from)}`}
          >
            <span
              data-kind={phase.kind}
              style={{ flexGrow: phase.to - phase.from, flexBasis: `${THINNEST_PERCENT}%` }}
            />
          </Tooltip>
        ))}
      </div>
      <ol className={classes.steps}>
        <li>
          <span className={classes.word}>{t("phase.submitted")}</span>
          <b className="num">{dateTime(job.submitted_at)}</b>
        </li>
        {KINDS.filter((kind) => total(phases, kind) > 0).map((kind) => (
          <li key={kind}>
            <span className={classes.word} data-kind={kind}>
              {t(`phase.${kind}`)}
            </span>
            <b className="num">{duration(total(phases, kind))}</b>
          </li>
        ))}
        {job.ended_at && (
          <li>
            <span className={classes.word}>
              <StatusBadge status={job.status} plain />
            </span>
            <b className="num">{dateTime(job.ended_at)}</b>
          </li>
        )}
      </ol>
    </div>
  );
}
