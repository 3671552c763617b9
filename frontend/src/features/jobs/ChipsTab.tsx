import { useComputedColorScheme } from "@mantine/core";
import { IconCpu } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { isEnded, type JobDetail, type Usage } from "../../api/types";
import { cividis, readableOn } from "../../ui/cividis";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { memory, milli, percent, timeOfDay } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import classes from "./JobPage.module.css";
import { byId } from "./queries";
import { UseChart } from "./UseChart";

const LIVE_MS = 1000;

/** Every chip of the job, rank by rank, once a second. */
export function ChipsTab({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const alive = job.started_at !== null && !isEnded(job.status);
  const usage = query.useQuery("get", "/api/v1/jobs/{id}/usage", byId(job.id), {
    refetchInterval: alive ? LIVE_MS : false,
    staleTime: 0,
  });
  if (usage.isPending) return <Loading rows={3} />;
  if (!usage.data) return <Failed error={usage.error} retry={() => void usage.refetch()} />;
  if (usage.data.replicas.length === 0) {
    return (
      <Panel flush>
        <Empty icon={<IconCpu size={26} stroke={1.6} />} title={t("chips.none")}>
          {alive ? t("chips.noneYet") : t("chips.noneNow")}
        </Empty>
      </Panel>
    );
  }
  return (
    <div className={classes.column}>
      {alive && (
        <Panel title={t("chips.sinceOpened")}>
          <UseChart usage={usage.data} job={job} />
        </Panel>
      )}
      <Panel
        title={t("chips.byRank")}
        aside={usage.data.as_of && <span className="num">{timeOfDay(usage.data.as_of)}</span>}
      >
        {usage.data.replicas.map((replica) => (
          <Rank key={replica.replica} replica={replica} />
        ))}
      </Panel>
    </div>
  );
}

function Rank({ replica }: { replica: Usage["replicas"][number] }) {
  const { t } = useTranslation();
  useComputedColorScheme();
  return (
    <>
      <div className={classes.rank}>
        <strong>{t("job.replica", { index: replica.replica })}</strong>
        <span className="quiet">{replica.node}</span>
        {replica.cpu_permille !== null && (
          <span className="quiet num">{t("chips.cores", { cores: milli(replica.cpu_permille) })}</span>
        )}
        {replica.memory_mib !== null && (
          <span className="quiet num">{t("chips.memory", { memory: memory(replica.memory_mib) })}</span>
        )}
      </div>
      <div className={classes.chips}>
        {replica.chips.map((chip) => {
          const ground = chip.use_permille === null ? "#000000" : cividis(chip.use_permille);
          return (
            <div
              key={chip.id}
              className={classes.chip}
              style={{ background: ground, color: readableOn(ground) }}
            >
              <small>
                {t("chips.chip", { index: chip.index })} · {chip.type}
              </small>
              <b className="num">{percent(chip.use_permille)}</b>
              <small className="num">{memory(chip.memory_mib)}</small>
            </div>
          );
        })}
      </div>
    </>
  );
}
