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
  const { sentence, reasons, since, queue_position, ahead, status } = why.data;
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
          </div>
        </div>
      </Panel>
      {reasons.length > 0 && (
        <Panel title={t("why.reasons")} flush>
          <ul className={classes.because}>
            {reasons.map((reason) => (
              <li key={`${reason.code} ${reason.sentence}`}>
                <IconPointFilled size={16} aria-hidden />
                <div>
                  <p>{reason.sentence}</p>
                  <span className={`mono ${classes.facts}`}>
                    {Object.entries(reason.facts ?? {}).map(([name, value]) => (
                      <span key={name}>
                        {name} {typeof value === "object" ? JSON.stringify(value) : String(value)}
                      </span>
                    ))}
                  </span>
                </div>
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </div>
  );
}
