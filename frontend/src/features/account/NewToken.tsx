/** A token to be made; its secret is shown once. */

import { Modal, NumberInput, Select, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { FormEnd } from "../../ui/FormEnd";
import { ShownOnce } from "../../ui/ShownOnce";
import { useAct } from "../../ui/useAct";

const USUAL_DAYS = 90;
const MOST_DAYS = 366;

export function NewToken({ made, close }: { made: () => Promise<void>; close: () => void }) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  const [secret, setSecret] = useState<string | null>(null);
  const [scope, setScope] = useState<string>("write");
  const [days, setDays] = useState<number>(USUAL_DAYS);
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name"));
    const scopes: ("read" | "write")[] = scope === "write" ? ["read", "write"] : ["read"];
    void act(async () => {
      const token = await body(api.POST("/api/v1/tokens", { body: { name, scopes, expires_in_days: days } }));
      setSecret(token.token);
      await made();
    });
  }
  return (
    <Modal opened onClose={close} title={t("tokens.make")}>
      {secret !== null ? (
        <ShownOnce
          help={t("tokens.once")}
          text={secret}
          label={t("tokens.secret")}
          kept={t("tokens.kept")}
          close={close}
        />
      ) : (
        <form onSubmit={submit}>
          <Stack gap={14}>
            <TextInput
              name="name"
              label={t("tokens.for")}
              maxLength={100}
              required
              withAsterisk={false}
              data-autofocus
            />
            <Select
              label={t("tokens.scopes")}
              data={[
                { value: "write", label: t("tokens.readWrite") },
                { value: "read", label: t("tokens.readOnly") },
              ]}
              value={scope}
              allowDeselect={false}
              onChange={(value) => setScope(value ?? "read")}
            />
            <NumberInput
              label={t("tokens.days")}
              min={1}
              max={MOST_DAYS}
              allowDecimal={false}
              value={days}
              onChange={(value) => setDays(Number(value))}
            />
            <FormEnd label={t("tokens.make")} problem={problem} busy={busy} close={close} />
          </Stack>
        </form>
      )}
    </Modal>
  );
}
