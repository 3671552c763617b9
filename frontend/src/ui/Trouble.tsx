import { Text } from "@mantine/core";

/** What went wrong, where it was asked for; nothing where nothing did. */
export function Trouble({ said }: { said: string | null }) {
  return said ? (
    <Text size="sm" c="var(--status-failed)" role="alert">
      {said}
    </Text>
  ) : null;
}
