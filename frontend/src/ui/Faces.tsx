/** The four faces of a list that has nothing to show: loading, empty, no match, error. Never one for another. */

import { Button, Skeleton } from "@mantine/core";
import { IconAlertTriangle, IconFilterOff, IconRefresh } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { asProblem } from "../api/problem";
import classes from "./Faces.module.css";

const ROWS = ["a", "b", "c", "d", "e", "f"];

export function Loading({ rows = 6, label }: { rows?: number; label?: string }) {
  const { t } = useTranslation();
  return (
    <div className={classes.loading} role="status" aria-live="polite" data-face="loading">
      <span className="visually-hidden">{label ?? t("faces.loading")}</span>
      {ROWS.slice(0, rows).map((row) => (
        <Skeleton key={row} height={18} radius={6} />
      ))}
    </div>
  );
}

type FaceProps = { icon: ReactNode; title: string; children?: ReactNode; action?: ReactNode; face: string };

function Face({ icon, title, children, action, face }: FaceProps) {
  return (
    <div className={classes.face} data-face={face} role={face === "error" ? "alert" : undefined}>
      <span className={classes.icon} aria-hidden>
        {icon}
      </span>
      <strong>{title}</strong>
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}

export function Empty(props: Omit<FaceProps, "face">) {
  return <Face {...props} face="empty" />;
}

export function NoMatch({ clear }: { clear: () => void }) {
  const { t } = useTranslation();
  return (
    <Face
      face="no-match"
      icon={<IconFilterOff size={26} stroke={1.6} />}
      title={t("faces.noMatch")}
      action={
        <Button variant="default" size="xs" onClick={clear}>
          {t("faces.clear")}
        </Button>
      }
    >
      {t("faces.noMatchHelp")}
    </Face>
  );
}

export function Failed({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useTranslation();
  const problem = asProblem(error);
  return (
    <Face
      face="error"
      icon={<IconAlertTriangle size={26} stroke={1.6} color="var(--status-failed)" />}
      title={problem.status === 0 ? t("faces.unreachable") : t("faces.error")}
      action={
        retry && (
          <Button variant="default" size="xs" leftSection={<IconRefresh size={14} />} onClick={retry}>
            {t("faces.retry")}
          </Button>
        )
      }
    >
      {problem.message}
      {problem.status > 0 && <span className="mono quiet"> ({problem.status})</span>}
    </Face>
  );
}
