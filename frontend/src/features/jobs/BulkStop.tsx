import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconPlayerStop } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { isEnded, type Job } from "../../api/types";
import { TypedConfirm } from "../../ui/TypedConfirm";
import classes from "./JobsPage.module.css";
import { useAct } from "./queries";

/** Requests in flight at once while many jobs are stopped. */
const AT_ONCE = 6;

export function BulkStop({ jobs, done }: { jobs: Job[]; done: () => void }) {
  const { t } = useTranslation();
  const act = useAct();
  const [asking, setAsking] = useState(false);
  const alive = jobs.filter((job) => !isEnded(job.status));
  async function stopAll(reason: string) {
    const refused: string[] = [];
    const waiting = [...alive];
    const worker = async () => {
      for (let job = waiting.pop(); job; job = waiting.pop()) {
        const { id, name } = job;
        await act(id, "stop", reason).catch((error: Error) => refused.push(`${name}: ${error.message}`));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    done();
    notifications.show({
      message: t("jobs.stopped", { count: alive.length - refused.length }),
      color: refused.length > 0 ? "red" : undefined,
      title: refused.length > 0 ? refused.slice(0, 3).join(" · ") : undefined,
    });
  }
  return (
    <div className={classes.bulk}>
      <strong>{t("jobs.selected", { count: jobs.length })}</strong>
      <Button
        size="xs"
        color="red.9"
        disabled={alive.length === 0}
        leftSection={<IconPlayerStop size={14} />}
        onClick={() => setAsking(true)}
      >
        {t("jobs.stopSelected", { count: alive.length })}
      </Button>
      <Button size="xs" variant="default" onClick={done}>
        {t("jobs.unselect")}
      </Button>
      {asking && (
        <TypedConfirm
          title={t("jobs.stopTitle", { count: alive.length })}
          word={alive.length > 1 ? `stop ${alive.length}` : undefined}
          reasonLabel={t("job.reason")}
          confirmLabel={t("jobs.stopSelected", { count: alive.length })}
          confirm={stopAll}
          close={() => setAsking(false)}
        >
          {t("jobs.stopHelp")}
        </TypedConfirm>
      )}
    </div>
  );
}
