/** Asks before something that cannot be undone; `word` must be typed where a slip would cost much. */

import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { asProblem } from "../api/problem";

type Props = {
  title: string;
  children: ReactNode;
  /** What must be typed; without it the button alone confirms. */
  word?: string;
  /** Shown when a reason can be given. */
  reasonLabel?: string;
  /** Without a reason nothing is confirmed. */
  reasonNeeded?: boolean;
  confirmLabel: string;
  confirm: (reason: string) => Promise<unknown>;
  close: () => void;
};

export function TypedConfirm(props: Props) {
  const { title, children, word, reasonLabel, reasonNeeded, confirmLabel, confirm, close } = props;
  const { t } = useTranslation();
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    try {
      await confirm(reason.trim());
      close();
    } catch (error) {
      setProblem(asProblem(error).message);
      setBusy(false);
    }
  }
  return (
    <Modal opened onClose={close} title={<Text fw={650}>{title}</Text>}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap={14}>
          <div>{children}</div>
          {reasonLabel && (
            <TextInput
              label={reasonLabel}
              value={reason}
              maxLength={200}
              onChange={(event) => setReason(event.currentTarget.value)}
              data-autofocus={word ? undefined : true}
            />
          )}
          {word && (
            <TextInput
              label={t("confirm.type", { word })}
              value={typed}
              autoComplete="off"
              data-autofocus
              onChange={(event) => setTyped(event.currentTarget.value)}
            />
          )}
          {problem && (
            <Text size="sm" c="var(--status-failed)" role="alert">
              {problem}
            </Text>
          )}
          <Group justify="flex-end" gap={10}>
            <Button variant="default" onClick={close}>
              {t("confirm.back")}
            </Button>
            <Button
              type="submit"
              color="red.9"
              loading={busy}
              disabled={(word !== undefined && typed.trim() !== word) || (reasonNeeded && !reason.trim())}
            >
              {confirmLabel}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
