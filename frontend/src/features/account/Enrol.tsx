/** Setting a second factor up, step by step: the password, the authenticator, the recovery codes. */

import { Button, Group, PasswordInput, TextInput } from "@mantine/core";
import { QRCodeSVG } from "qrcode.react";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { CopyText } from "../../ui/CopyText";
import { Trouble } from "../../ui/Trouble";
import { useAct } from "../../ui/useAct";
import classes from "./AccountPage.module.css";

type Begun = { secret: string; uri: string };
type Step = { at: "password" } | { at: "scan"; begun: Begun } | { at: "codes"; codes: string[] };

export function Enrol({ done, cancel }: { done: () => Promise<void>; cancel: () => void }) {
  const [step, setStep] = useState<Step>({ at: "password" });
  if (step.at === "password")
    return <Password cancel={cancel} next={(begun) => setStep({ at: "scan", begun })} />;
  if (step.at === "scan")
    return <Scan begun={step.begun} cancel={cancel} next={(codes) => setStep({ at: "codes", codes })} />;
  return <Codes codes={step.codes} done={done} />;
}

function Password({ next, cancel }: { next: (begun: Begun) => void; cancel: () => void }) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const password = String(new FormData(event.currentTarget).get("password"));
    void act(async () => next(await body(api.POST("/api/v1/me/second-factor", { body: { password } }))));
  }
  return (
    <form className={classes.form} onSubmit={submit}>
      <PasswordInput
        name="password"
        label={t("login.password")}
        description={t("secondFactor.passwordHelp")}
        autoComplete="current-password"
        required
        withAsterisk={false}
        autoFocus
      />
      <Trouble said={problem} />
      <Buttons label={t("secondFactor.next")} busy={busy} cancel={cancel} />
    </form>
  );
}

type ScanProps = { begun: Begun; next: (codes: string[]) => void; cancel: () => void };

function Scan({ begun, next, cancel }: ScanProps) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget).get("code"));
    void act(async () => {
      const confirmed = await body(api.POST("/api/v1/me/second-factor/confirm", { body: { code } }));
      next(confirmed.recovery_codes);
    });
  }
  return (
    <div className={classes.enrol}>
      <div className={classes.qr}>
        <QRCodeSVG value={begun.uri} size={188} title={t("secondFactor.qr")} />
      </div>
      <form className={classes.form} onSubmit={submit}>
        <p>{t("secondFactor.scan")}</p>
        <p className={classes.secret} data-testid="totp-secret">
          {begun.secret}
        </p>
        <TextInput
          name="code"
          label={t("secondFactor.code")}
          autoComplete="one-time-code"
          inputMode="numeric"
          required
          withAsterisk={false}
          autoFocus
        />
        <Trouble said={problem} />
        <Buttons label={t("secondFactor.confirm")} busy={busy} cancel={cancel} />
      </form>
    </div>
  );
}

function Codes({ codes, done }: { codes: string[]; done: () => Promise<void> }) {
  const { t } = useTranslation();
  return (
    <div className={classes.form} role="status">
      <p>{t("secondFactor.codesHelp")}</p>
      <CopyText text={codes.join("\n")} label={t("secondFactor.codes")} />
      <Group>
        <Button onClick={() => void done()}>{t("secondFactor.kept")}</Button>
      </Group>
    </div>
  );
}

function Buttons({ label, busy, cancel }: { label: string; busy: boolean; cancel: () => void }) {
  const { t } = useTranslation();
  return (
    <Group gap={10}>
      <Button type="submit" loading={busy}>
        {label}
      </Button>
      <Button variant="default" onClick={cancel}>
        {t("confirm.back")}
      </Button>
    </Group>
  );
}
