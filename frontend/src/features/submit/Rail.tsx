/** What the server says of the draft, and the ways to submit it. */

import { Button, CopyButton, Loader } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconAlertTriangle, IconCheck, IconCircleCheck, IconCode, IconTerminal2 } from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import type { Spec, SpecRequest } from "../../api/types";
import { Panel } from "../../ui/Panel";
import { Alternatives } from "./Alternatives";
import { asCli, asCurl } from "./commands";
import { type Draft, patched } from "./draft";
import classes from "./SubmitPage.module.css";
import type { Check } from "./useDryRun";

type Change = (change: (old: Draft) => Draft) => void;

export function Rail({ draft, check, change }: { draft: Draft; check: Check; change: Change }) {
  const { t } = useTranslation();
  const take = (patch: Spec) => change((old) => patched(old, patch));
  return (
    <aside className={classes.rail} aria-label={t("submit.check")}>
      <Panel title={t("submit.check")} aside={check.pending && <Loader size={14} />}>
        <Verdict check={check} />
        <Alternatives
          found={check.problem ? [] : (check.answer?.alternatives ?? [])}
          stale={check.pending || draft.trouble !== null}
          take={take}
        />
        <Submit draft={draft} check={check} />
      </Panel>
      <Panel title={t("submit.same")}>
        <div className={classes.copies}>
          <Copy text={asCli(draft.good)} label={t("submit.copyCli")} icon={IconTerminal2} />
          <Copy text={asCurl(draft.spec, location.origin)} label={t("submit.copyCurl")} icon={IconCode} />
        </div>
      </Panel>
    </aside>
  );
}

function Verdict({ check }: { check: Check }) {
  const { t } = useTranslation();
  const { answer, problem } = check;
  if (problem) {
    return (
      <div className={classes.verdict} data-verdict="refused" data-testid="verdict">
        <IconAlertTriangle size={20} color="var(--status-failed)" aria-hidden />
        <div>
          <strong>{problem.message}</strong>
          {problem.errors.length > 0 && (
            <ul>
              {problem.errors.map((error) => (
                <li key={`${error.field} ${error.message}`}>
                  {error.field && <span className="mono">{error.field}</span>} {error.message} {error.hint}
                </li>
              ))}
            </ul>
          )}
        </div>
      </div>
    );
  }
  if (!answer) return <p className="quiet">{t("submit.asking")}</p>;
  const Icon = answer.fits ? IconCircleCheck : IconAlertTriangle;
  return (
    <div
      className={classes.verdict}
      data-verdict={answer.fits ? "fits" : "does-not-fit"}
      data-testid="verdict"
    >
      <Icon size={20} color={`var(--status-${answer.fits ? "succeeded" : "preempted"})`} aria-hidden />
      <div>
        <strong>{answer.sentence}</strong>
        {answer.outlook && answer.outlook.sentences.length > 0 && (
          <ul data-testid="outlook">
            {answer.outlook.sentences.map((sentence) => (
              <li key={sentence}>{sentence}</li>
            ))}
          </ul>
        )}
        {answer.roundings.length > 0 && (
          <>
            <p>{t("submit.roundings")}</p>
            <ul>
              {answer.roundings.map((rounding) => (
                <li key={rounding}>{rounding}</li>
              ))}
            </ul>
          </>
        )}
        {answer.warnings.length > 0 && (
          <>
            <p>{t("submit.warnings")}</p>
            <ul data-testid="warnings">
              {answer.warnings.map((warning) => (
                <li key={warning}>{warning}</li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}

function Submit({ draft, check }: { draft: Draft; check: Check }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [busy, setBusy] = useState(false);
  // The same press twice, or a press repeated after a lost answer, is one job.
  const key = useRef({ spec: "", key: "" });
  async function submit() {
    const spec = JSON.stringify(draft.spec);
    if (key.current.spec !== spec)
      key.current = { spec, key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
    setBusy(true);
    try {
      const header = { "Idempotency-Key": key.current.key };
      const made = await body(
        api.POST("/api/v1/jobs", { params: { header }, body: draft.spec as SpecRequest }),
      );
      if ("set" in made && "jobs" in made && made.set)
        await navigate({ to: "/jobs", search: { set: String(made.set) } });
      else if ("id" in made) await navigate({ to: "/jobs/$id", params: { id: made.id }, search: {} });
    } catch (error) {
      notifications.show({ color: "red", title: t("submit.refused"), message: asProblem(error).message });
    }
    setBusy(false);
  }
  return (
    <Button
      fullWidth
      mt={16}
      loading={busy}
      disabled={check.problem !== null || draft.trouble !== null}
      onClick={() => void submit()}
    >
      {t("submit.go")}
    </Button>
  );
}

function Copy({ text, label, icon: Icon }: { text: string; label: string; icon: typeof IconCode }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Button
          variant="default"
          size="sm"
          fullWidth
          leftSection={copied ? <IconCheck size={16} /> : <Icon size={16} />}
          onClick={copy}
        >
          {label}
        </Button>
      )}
    </CopyButton>
  );
}
