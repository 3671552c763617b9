/** Which jobs come before this one, and which come after it. */

import { IconArrowNarrowRight, IconCheck, IconHourglassHigh, IconX } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import type { JobDetail } from "../../api/types";
import { TextLink } from "../../ui/links";
import { Panel } from "../../ui/Panel";
import classes from "./JobPage.module.css";

const ICONS = { met: IconCheck, pending: IconHourglassHigh, never: IconX } as const;

export function Order({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  if (job.depends_on.length === 0 && job.dependents.length === 0) return null;
  return (
    <Panel title={t("job.order")} flush>
      <ul className={classes.because}>
        {job.depends_on.map((one) => {
          const Icon = ICONS[one.standing];
          return (
            <li key={`${one.id} ${one.on}`}>
              <Icon size={16} aria-label={t(`job.standing.${one.standing}`)} />
              <div>
                {t(`job.after.${one.on}`)} <Named kind={one.kind} id={one.id} name={one.name} />
                <span className={classes.facts}>{one.status}</span>
              </div>
            </li>
          );
        })}
        {job.dependents.map((one) => (
          <li key={one.id}>
            <IconArrowNarrowRight size={16} aria-hidden />
            <div>
              {t("job.then")} <Named kind="job" id={one.id} name={one.name} />
              <span className={classes.facts}>{one.status}</span>
            </div>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Named({ kind, id, name }: { kind: "job" | "set"; id: string; name: string }) {
  if (kind === "set")
    return (
      <TextLink to="/jobs" search={{ set: id }} fz="inherit">
        {name}
      </TextLink>
    );
  return (
    <TextLink to="/jobs/$id" params={{ id }} fz="inherit">
      {name}
    </TextLink>
  );
}
