/** A secret to be set, or its value replaced. What is typed is sent once and kept nowhere on the page. */

import { Modal, Stack, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import type { Team } from "../../api/types";
import { FormEnd } from "../../ui/FormEnd";
import { useAct } from "../../ui/useAct";
import classes from "./TeamsPage.module.css";

/** `name` is of the secret whose value is replaced; empty for a new one. */
type Props = { team: Team; name: string; done: () => Promise<void>; close: () => void };

export function SetSecret({ team, name, done, close }: Props) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  const [called, setCalled] = useState(name);
  const [value, setValue] = useState("");
  function submit(event: FormEvent) {
    event.preventDefault();
    void act(async () => {
      const params = { path: { id: team.id, name: called.trim() } };
      await body(api.PUT("/api/v1/teams/{id}/secrets/{name}", { params, body: { value } }));
      await done();
    });
  }
  return (
    <Modal
      opened
      onClose={close}
      title={t(name ? "secrets.replaceOne" : "secrets.addTo", { name, team: team.name })}
    >
      <form onSubmit={submit} autoComplete="off">
        <Stack gap={14}>
          <p className={classes.help}>{t(name ? "secrets.replaceHelp" : "secrets.help")}</p>
          {!name && (
            <TextInput
              label={t("secrets.name")}
              description={t("secrets.nameHelp")}
              placeholder="HF_TOKEN"
              value={called}
              maxLength={128}
              onChange={(event) => setCalled(event.currentTarget.value)}
              required
              withAsterisk={false}
              data-autofocus
            />
          )}
          <Textarea
            label={t("secrets.value")}
            description={t("secrets.valueHelp")}
            value={value}
            onChange={(event) => setValue(event.currentTarget.value)}
            autosize
            minRows={2}
            maxRows={8}
            autoComplete="off"
            spellCheck={false}
            required
            withAsterisk={false}
            data-autofocus={name ? true : undefined}
          />
          <FormEnd label={t("secrets.make")} problem={problem} busy={busy} close={close} />
        </Stack>
      </form>
    </Modal>
  );
}
