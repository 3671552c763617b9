import { useTranslation } from "react-i18next";
import type { JobDetail } from "../../api/types";
import { plain } from "../../ui/ansi";
import { TextLink } from "../../ui/links";
import { Panel } from "../../ui/Panel";
import classes from "./LastLines.module.css";
import { useLogTail } from "./useLogTail";

const SHOWN = 9;

/** The newest lines of the first replica, so that "is it doing well?" needs no click. */
export function LastLines({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const tail = useLogTail(job.id, job.attempt, 0);
  const lines = tail.buffer.lines.slice(-SHOWN).map(plain);
  return (
    <Panel
      title={t("logs.last")}
      flush
      aside={
        <TextLink to="/jobs/$id" params={{ id: job.id }} search={{ tab: "logs" }} fz={13}>
          {t("logs.all")}
        </TextLink>
      }
    >
      <pre className={classes.lines}>
        {lines.join("\n") || (tail.loaded ? t("logs.nothing") : t("faces.loading"))}
      </pre>
    </Panel>
  );
}
