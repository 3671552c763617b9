import { Button, CopyButton } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import classes from "./CopyText.module.css";

/** Text to be copied as it stands, over as many lines as it has. */
export function CopyText({ text, label }: { text: string; label: string }) {
  const { t } = useTranslation();
  return (
    <div className={classes.box}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section className={classes.text} aria-label={label} tabIndex={0}>
        <pre>{text}</pre>
      </section>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button
            size="compact-sm"
            variant="default"
            leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
            onClick={copy}
          >
            {copied ? t("job.copied") : t("spec.copy")}
          </Button>
        )}
      </CopyButton>
    </div>
  );
}
