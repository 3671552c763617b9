import { Button } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useMe } from "../../api/session";
import type { Chip, Node } from "../../api/types";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useActOnChip } from "./queries";

/** An operator's word on one chip: out of service with a reason, and back. */
export function ChipSwitch({ node, chip }: { node: Node; chip: Chip }) {
  const { t } = useTranslation();
  const me = useMe();
  const act = useActOnChip();
  const [asking, setAsking] = useState(false);
  const action = chip.state === "in_service" ? "cordon" : "return";
  const name = `${node.name}:${chip.index}`;
  if (!me.user.is_operator) return null;
  return (
    <>
      <Button
        size="compact-sm"
        variant="default"
        aria-label={t(`cluster.chip.${action}One`, { chip: name })}
        onClick={() => setAsking(true)}
      >
        {t(`cluster.chip.${action}`)}
      </Button>
      {asking && (
        <TypedConfirm
          title={t(`cluster.chip.${action}Title`, { chip: name })}
          reasonLabel={t(action === "cordon" ? "cluster.chip.reason" : "job.reason")}
          reasonNeeded={action === "cordon"}
          confirmLabel={t(`cluster.chip.${action}`)}
          confirm={(reason) => act(chip.id, action, reason)}
          close={() => setAsking(false)}
        >
          {t(`cluster.chip.${action}Help`)}
        </TypedConfirm>
      )}
    </>
  );
}
