import { IconCircleCheck, IconHourglassHigh, IconPointFilled } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { usePolling } from "../../api/live";
import { Failed, Loading } from "../../ui/Faces";
import { count, duration } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { useNow } from "../../ui/useNow";
import classes from "./JobPage.module.css";
import { byId } from "./queries";

export function WhyPending({ id }: { id: string }) {
  const { t } = useTranslation();
  const now = useNow();
  const why = query.useQuery("get", "/api/v1/jobs/{id}/explain", byId(id), {
    refetchInterval: Math.min(usePolling(), 5000),
  });
  if (why.isPending) return <Loading rows={3} />;
  if (!why.data) return <Failed error={why.error} retry={() => void why.refetch()} />;
  const { sentence, reasons, since, queue_position, ahead, forecast, status } = why.data;
  const waits = status === "queued" || status === "held" || status === "suspended";
  const Icon = waits ? IconHourglassHigh : IconCircleCheck;
  return (
    <div className={classes.column}>
      <Panel>
        <div className={classes.lead}>
          <Icon
            size={24}
            stroke={1.7}
            color={`var(--status-${waits ? "queued" : "succeeded"})`}
            aria-hidden
          />
          <div>
            <strong>{waits ? sentence : t("why.notWaiting", { sentence })}</strong>
            <div className={classes.queue}>
              {since && waits && (
                <span>
                  {t("why.since")} <b className="num">{duration(now - Date.parse(since))}</b>
                </span>
              )}
              {queue_position !== null && queue_position !== undefined && (
                <span>
                  {t("why.position")} <b className="num">{count(queue_position)}</b>
                </span>
              )}
              {ahead !== null && ahead !== undefined && (
                <span>
                  {t("why.ahead")} <b className="num">{count(ahead)}</b>
                </span>
              )}
            </div>
            {forecast && waits && <Expected forecast={forecast} now={now} />}
          </div>
        </div>
      </Panel>
      <Reasons title={t("why.reasons")} reasons={reasons.filter((one) => !isChange(one))} />
      <Reasons title={t("why.changes")} reasons={reasons.filter(isChange)} />
    </div>
  );
}

type Forecast = { p50: string; p90: string };

/** When it is likely to start, and how often such forecasts held. */
function Expected({ forecast, now }: { forecast: Forecast; now: number }) {
  const { t } = useTranslation();
  const score = query.useQuery("get", "/api/v1/forecasts", {}, { staleTime: 60_000 }).data;
  const left = (at: string, how: "why.in" | "why.within") => {
    const ms = Date.parse(at) - now;
    return ms > 0 ? t(how, { time: duration(ms) }) : t("why.anyMoment");
  };
  return (
    <>
      <div className={classes.queue}>
        <span>
          {t("why.expected")} <b className="num">{left(forecast.p50, "why.in")}</b>
        </span>
        <span>
          {t("why.expectedBy")} <b className="num">{left(forecast.p90, "why.within")}</b>
        </span>
      </div>
      {score && score.scored >= SCORED_ENOUGH && (
        <div className={classes.queue}>
          {t("why.forecastScore", {
            scored: count(score.scored),
            held: count(Math.round((100 * score.within_p90) / score.scored)),
          })}
        </div>
      )}
    </>
  );
}

/** With fewer a share says nothing. */
const SCORED_ENOUGH = 10;

type Reason = { code: string; sentence: string; facts?: Record<string, unknown> | null };

/** A counterfactual: a change that would let the job start, not something that stands in its way. */
function isChange(reason: Reason): boolean {
  return reason.code.startsWith("would_start_");
}

function Reasons({ title, reasons }: { title: string; reasons: Reason[] }) {
  if (reasons.length === 0) return null;
  return (
    <Panel title={title} flush>
      <ul className={classes.because}>
        {reasons.map((reason) => (
          <li key={`${reason.code} ${reason.sentence}`}>
            <IconPointFilled size={16} aria-hidden />
            <div>
              <p>{reason.sentence}</p>
              {!isChange(reason) && (
                <span className={`mono ${classes.facts}`}>
                  {Object.entries(reason.facts ?? {}).map(([name, value]) => (
                    <span key={name}>
                      {name} {typeof value === "object" ? JSON.stringify(value) : String(value)}
                    </span>
                  ))}
                </span>
              )}
            </div>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
