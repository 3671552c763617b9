import { Button, Group, Stack } from "@mantine/core";
import { CopyText } from "./CopyText";

type ShownOnceProps = { help: string; text: string; label: string; kept: string; close: () => void };

/** A secret that nobody can ask for again. */
export function ShownOnce({ help, text, label, kept, close }: ShownOnceProps) {
  return (
    <Stack gap={14}>
      <p role="status">{help}</p>
      <CopyText text={text} label={label} />
      <Group justify="flex-end">
        <Button onClick={close}>{kept}</Button>
      </Group>
    </Stack>
  );
}
