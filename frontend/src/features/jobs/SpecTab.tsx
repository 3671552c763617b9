/** The spec as submitted and as it is in force; what the platform added is marked. */

import { Button, CopyButton, SegmentedControl } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { stringify } from "yaml";
import type { JobDetail } from "../../api/types";
import { Panel } from "../../ui/Panel";
import classes from "./JobPage.module.css";
import { markAdded, readable } from "./specLines";

export default function SpecTab({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const [which, setWhich] = useState<"submitted" | "effective">("effective");
  const submitted = stringify(readable(job.spec));
  const text = which === "submitted" ? submitted : stringify(readable(job.effective_spec));
  const lines =
    which === "submitted"
      ? text
          .trimEnd()
          .split("\n")
          .map((line) => ({ line, added: false }))
      : markAdded(submitted, text);
  return (
    <Panel
      flush
      title={
        <SegmentedControl
          size="xs"
          value={which}
          onChange={(value) => setWhich(value as typeof which)}
          data={[
            { value: "effective", label: t("spec.effective") },
            { value: "submitted", label: t("spec.submitted") },
          ]}
        />
      }
      aside={
        <>
          {which === "effective" && <span>{t("spec.help")}</span>}
          <CopyButton value={text}>
            {({ copied, copy }) => (
              <Button
                size="xs"
                variant="default"
                leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
                onClick={copy}
              >
                {copied ? t("job.copied") : t("spec.copy")}
              </Button>
            )}
          </CopyButton>
        </>
      }
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolled region must be reachable by keyboard */}
      <pre className={classes.spec} tabIndex={0}>
        {lines.map(({ line, added }, index) => (
          // Lines of a text have no identity but their place.
          // biome-ignore lint/suspicious/noArrayIndexKey: see above
          <span key={index} className={added ? classes.added : classes.same}>
            {line}
          </span>
        ))}
      </pre>
    </Panel>
  );
}
