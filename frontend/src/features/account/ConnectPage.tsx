/** Where the code of `flexai login` is typed: nothing is given before somebody has seen what, and said so. */

import { Button, Group, TextInput } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { useMe } from "../../api/session";
import type { SignIn } from "../../api/types";
import { ago } from "../../ui/format";
import { Facts, PageHead, Panel } from "../../ui/Panel";
import { Trouble } from "../../ui/Trouble";
import { useAct } from "../../ui/useAct";
import classes from "./AccountPage.module.css";

type Step =
  | { at: "code" }
  | { at: "decide"; code: string; asked: SignIn }
  | { at: "done"; granted: boolean; machine: string };

export function ConnectPage() {
  const { t } = useTranslation();
  const [step, setStep] = useState<Step>({ at: "code" });
  return (
    <>
      <PageHead title={t("connect.title")} sub={t("connect.sub")} />
      <div className={classes.connect}>
        <Panel>
          {step.at === "code" && <Typing next={(code, asked) => setStep({ at: "decide", code, asked })} />}
          {step.at === "decide" && (
            <Deciding
              code={step.code}
              asked={step.asked}
              back={() => setStep({ at: "code" })}
              next={(granted) => setStep({ at: "done", granted, machine: step.asked.machine })}
            />
          )}
          {step.at === "done" && <Done granted={step.granted} machine={step.machine} />}
        </Panel>
      </div>
    </>
  );
}

function Typing({ next }: { next: (code: string, asked: SignIn) => void }) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget).get("code"));
    void act(async () => next(code, await body(api.POST("/api/v1/sign-ins/look", { body: { code } }))));
  }
  return (
    <form className={classes.form} onSubmit={submit}>
      <TextInput
        name="code"
        className={classes.code}
        label={t("connect.code")}
        description={t("connect.codeHelp")}
        placeholder="XXXX-XXXX"
        maxLength={20}
        autoComplete="off"
        autoCapitalize="characters"
        spellCheck={false}
        required
        withAsterisk={false}
        autoFocus
      />
      <Trouble said={problem} />
      <Group>
        <Button type="submit" loading={busy}>
          {t("connect.look")}
        </Button>
      </Group>
    </form>
  );
}

type DecidingProps = { code: string; asked: SignIn; back: () => void; next: (granted: boolean) => void };

function Deciding({ code, asked, back, next }: DecidingProps) {
  const { t } = useTranslation();
  const { user, organizations } = useMe();
  const { busy, problem, act } = useAct();
  const decide = (grant: boolean) =>
    void act(async () => {
      await api.POST("/api/v1/sign-ins/decide", { body: { code, grant } });
      next(grant);
    });
  const may = t(asked.scopes.includes("write") ? "connect.readWrite" : "connect.readOnly");
  return (
    <div className={classes.form}>
      <Facts
        facts={[
          { label: t("connect.machine"), value: <b>{asked.machine}</b> },
          { label: t("connect.from"), value: asked.address },
          { label: t("connect.asked"), value: ago(asked.asked_at, Date.now()) },
          { label: t("connect.as"), value: `${user.username} · ${asked.organization.name}` },
          { label: t("connect.may"), value: may },
          { label: t("connect.until"), value: t("connect.days", { count: asked.expires_in_days }) },
        ]}
      />
      {organizations.length > 1 && <p className="quiet">{t("connect.switch")}</p>}
      <div className={classes.warn}>
        <IconAlertTriangle size={18} aria-hidden />
        <span>{t("connect.warn")}</span>
      </div>
      <Trouble said={problem} />
      <Group gap={10}>
        <Button loading={busy} onClick={() => decide(true)}>
          {t("connect.grant")}
        </Button>
        <Button variant="default" color="red" disabled={busy} onClick={() => decide(false)}>
          {t("connect.refuse")}
        </Button>
        <Button variant="subtle" disabled={busy} onClick={back}>
          {t("connect.other")}
        </Button>
      </Group>
    </div>
  );
}

function Done({ granted, machine }: { granted: boolean; machine: string }) {
  const { t } = useTranslation();
  const Icon = granted ? IconCircleCheck : IconCircleX;
  return (
    <div className={classes.row} role="status">
      <Icon size={22} color={`var(--status-${granted ? "succeeded" : "cancelled"})`} aria-hidden />
      <p>{t(granted ? "connect.granted" : "connect.refused", { machine })}</p>
    </div>
  );
}
