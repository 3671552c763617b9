/** A code besides the password: set up with an authenticator, and switched off again. */

import { Button, Group, PasswordInput, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, query } from "../../api/client";
import { Failed, Loading } from "../../ui/Faces";
import { Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { Trouble } from "../../ui/Trouble";
import { useAct } from "../../ui/useAct";
import classes from "./AccountPage.module.css";
import { Enrol } from "./Enrol";

const PATH = "/api/v1/me/second-factor";

export function SecondFactor() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = query.useQuery("get", PATH);
  const [doing, setDoing] = useState<"on" | "off" | null>(null);
  const done = async () => {
    setDoing(null);
    await client.invalidateQueries({ queryKey: ["get", PATH] });
  };
  const state = found.data;
  return (
    <Panel
      title={t("secondFactor.title")}
      aside={state?.has_password && <StatusBadge status={state.active ? "on" : "off"} plain />}
    >
      {found.isPending ? (
        <Loading rows={2} />
      ) : !state ? (
        <Failed error={found.error} retry={() => void found.refetch()} />
      ) : doing === "on" ? (
        <Enrol done={done} cancel={() => setDoing(null)} />
      ) : doing === "off" ? (
        <SwitchOff done={done} cancel={() => setDoing(null)} />
      ) : (
        <div className={classes.row}>
          <p>
            {!state.has_password
              ? t("secondFactor.byProvider")
              : state.active
                ? t("secondFactor.on", { count: state.recovery_codes_left })
                : t("secondFactor.off")}
          </p>
          {state.has_password && (
            <Button
              variant={state.active ? "default" : "filled"}
              size="sm"
              onClick={() => setDoing(state.active ? "off" : "on")}
            >
              {t(state.active ? "secondFactor.switchOff" : "secondFactor.setUp")}
            </Button>
          )}
        </div>
      )}
    </Panel>
  );
}

function SwitchOff({ done, cancel }: { done: () => Promise<void>; cancel: () => void }) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const body = { password: String(form.get("password")), code: String(form.get("code")) };
    void act(async () => {
      await api.POST("/api/v1/me/second-factor/remove", { body });
      await done();
    });
  }
  return (
    <form className={classes.form} onSubmit={submit}>
      <p>{t("secondFactor.offHelp")}</p>
      <PasswordInput
        name="password"
        label={t("login.password")}
        autoComplete="current-password"
        required
        withAsterisk={false}
        autoFocus
      />
      <TextInput
        name="code"
        label={t("login.code")}
        description={t("login.codeHelp")}
        autoComplete="one-time-code"
        required
        withAsterisk={false}
      />
      <Trouble said={problem} />
      <Group gap={10}>
        <Button type="submit" color="red.9" loading={busy}>
          {t("secondFactor.switchOff")}
        </Button>
        <Button variant="default" onClick={cancel}>
          {t("confirm.back")}
        </Button>
      </Group>
    </form>
  );
}
