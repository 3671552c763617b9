import { Tooltip } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useConnection } from "../api/live";
import { timeOfDay } from "../ui/format";
import { useNow } from "../ui/useNow";
import classes from "./ConnectionBadge.module.css";

/** A broken connection is first "reconnecting"; after this long the page admits what it shows is old. */
const STALE_AFTER_MS = 8000;

export function ConnectionBadge() {
  const { t } = useTranslation();
  const { state, since } = useConnection();
  const now = useNow(1000, state !== "live");
  const stale = state === "reconnecting" && now - since > STALE_AFTER_MS;
  const face = stale ? "stale" : state;
  return (
    <Tooltip label={t(`connection.${face}Help`)} multiline maw={280}>
      <span className={classes.badge} data-face={face} data-testid="connection" role="status">
        <i aria-hidden />
        {t(`connection.${face}`, { since: timeOfDay(since) })}
      </span>
    </Tooltip>
  );
}
