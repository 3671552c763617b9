import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import {
  IconClockPause,
  IconCopyPlus,
  IconHandStop,
  IconPlayerPlay,
  IconPlayerStop,
  IconRefresh,
} from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { asProblem } from "../../api/problem";
import type { Action, JobDetail } from "../../api/types";
import { duration } from "../../ui/format";
import { jobName } from "../../ui/jobName";
import { ButtonLink } from "../../ui/links";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useAct } from "./queries";

/** Work older than this is not stopped by a slip of the hand: its name must be typed. */
const TYPE_NAME_AFTER_MS = 600_000;

const HARMLESS: { action: Action; icon: typeof IconRefresh }[] = [
  { action: "keep", icon: IconClockPause },
  { action: "resume", icon: IconPlayerPlay },
  { action: "hold", icon: IconHandStop },
  { action: "requeue", icon: IconRefresh },
];

/** The actions the server allows now, and no other. */
export function Actions({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const act = useAct();
  const [stopping, setStopping] = useState(false);
  const [busy, setBusy] = useState<Action | null>(null);
  const ran_ms = job.run_ms ?? 0;
  async function carryOut(action: Action) {
    setBusy(action);
    try {
      await act(job.id, action);
      notifications.show({ message: t(`job.did.${action}`, { name: jobName(job) }) });
    } catch (error) {
      notifications.show({ color: "red", title: t("job.refused"), message: asProblem(error).message });
    }
    setBusy(null);
  }
  return (
    <>
      <ButtonLink
        to="/submit"
        search={{ from: job.id }}
        variant="default"
        leftSection={<IconCopyPlus size={16} />}
      >
        {t("job.clone")}
      </ButtonLink>
      {HARMLESS.filter(
        ({ action }) => job.allowed_actions.includes(action) && (action !== "keep" || mayLoseItsPlace(job)),
      ).map(({ action, icon: Icon }) => (
        <Button
          key={action}
          variant="default"
          leftSection={<Icon size={16} />}
          loading={busy === action}
          onClick={() => void carryOut(action)}
        >
          {t(`job.do.${action}`)}
        </Button>
      ))}
      {job.allowed_actions.includes("stop") && (
        <Button color="red.9" leftSection={<IconPlayerStop size={16} />} onClick={() => setStopping(true)}>
          {t("job.do.stop")}
        </Button>
      )}
      {stopping && (
        <TypedConfirm
          title={t("job.stopTitle", { name: jobName(job) })}
          word={ran_ms > TYPE_NAME_AFTER_MS ? job.name : undefined}
          reasonLabel={t("job.reason")}
          confirmLabel={t("job.stopConfirm")}
          confirm={(reason) => act(job.id, "stop", reason)}
          close={() => setStopping(false)}
        >
          {job.started_at ? t("job.stopHelp", { time: duration(ran_ms) }) : t("job.stopQueuedHelp")}
        </TypedConfirm>
      )}
    </>
  );
}

/** Its own policy would do something about its chips: that can be put off. */
function mayLoseItsPlace(job: JobDetail) {
  return job.idle !== null || Boolean(job.straggler?.moves_at);
}
