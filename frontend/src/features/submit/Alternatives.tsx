/** What the spec could ask for instead, as the server has tried it; one press puts it into the draft. */

import { Button } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { stringify } from "yaml";
import type { Alternative, Spec } from "../../api/types";
import classes from "./SubmitPage.module.css";

type Props = { found: readonly Alternative[]; stale: boolean; take: (patch: Spec) => void };

export function Alternatives({ found, stale, take }: Props) {
  const { t } = useTranslation();
  if (found.length === 0) return null;
  return (
    <section className={classes.instead} aria-label={t("submit.instead")}>
      <h3>{t("submit.instead")}</h3>
      <ul>
        {found.map((one) => (
          <li key={one.sentence}>
            <p>{one.sentence}</p>
            <pre className="mono">{stringify(one.patch).trim()}</pre>
            <Button
              size="compact-sm"
              variant="default"
              disabled={stale}
              aria-label={t("submit.takeThis", { sentence: one.sentence })}
              onClick={() => take(one.patch as Spec)}
            >
              {t("submit.take")}
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
