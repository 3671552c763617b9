import { Button, Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Trouble } from "./Trouble";

type FormEndProps = { label: string; problem: string | null; busy: boolean; close: () => void };

/** The end of a form in a dialog: what went wrong, the way back, and what sends it. */
export function FormEnd({ label, problem, busy, close }: FormEndProps) {
  const { t } = useTranslation();
  return (
    <>
      <Trouble said={problem} />
      <Group justify="flex-end" gap={10}>
        <Button variant="default" onClick={close}>
          {t("confirm.back")}
        </Button>
        <Button type="submit" loading={busy}>
          {label}
        </Button>
      </Group>
    </>
  );
}
