/** One node in a drawer: its chips, what runs on them, and what an operator may do. */

import { Button, Drawer } from "@mantine/core";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useLiveChips } from "../../api/chips";
import { useMe } from "../../api/session";
import type { Chip, Node } from "../../api/types";
import { DataTable } from "../../ui/DataTable";
import { dateTime, memory, milli } from "../../ui/format";
import { Facts } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { TypedConfirm } from "../../ui/TypedConfirm";
import classes from "./ClusterPage.module.css";
import { Simulated, statusOf, useChipColumns } from "./columns";
import { type NodeAction, useActOnNode } from "./queries";

export function NodePanel({ node, close }: { node: Node; close: () => void }) {
  const { t } = useTranslation();
  useLiveChips();
  const columns = useChipColumns(node);
  const isolation = [...new Set(node.chips.flatMap((chip) => chip.isolation))].join(", ");
  return (
    <Drawer
      opened
      onClose={close}
      position="right"
      size={720}
      overlayProps={{ backgroundOpacity: 0.25 }}
      title={
        <span className={classes.panelHead}>
          <strong>{node.name}</strong>
          <StatusBadge status={statusOf(node)} />
          {node.simulated && <Simulated />}
        </span>
      }
    >
      <Operate node={node} />
      <div className={classes.facts}>
        <Facts
          facts={[
            { label: t("cluster.pool"), value: [node.pool, ...(node.topology ?? [])].join(" · ") },
            { label: t("cluster.cpus"), value: `${milli(node.used_cpu_milli)} / ${milli(node.cpu_milli)}` },
            {
              label: t("cluster.memoryGiven"),
              value: `${memory(node.used_memory_mib)} / ${memory(node.memory_mib)}`,
            },
            { label: t("cluster.isolation"), value: isolation },
            { label: t("cluster.trust"), value: node.trust.replaceAll("_", " ") },
            {
              label: t("cluster.images"),
              value: t(node.images ? "cluster.imagesRun" : "cluster.imagesNone"),
            },
            { label: t("cluster.seen"), value: dateTime(node.last_seen_at) },
            { label: t("cluster.agent"), value: node.agent_version },
          ]}
        />
      </div>
      {node.notes.map((note) => (
        <p key={note} className="quiet">
          {note}
        </p>
      ))}
      <h3 className={classes.heading}>{t("cluster.chipsOf")}</h3>
      <DataTable<Chip>
        label={t("cluster.chipsOf")}
        columns={columns}
        rows={node.chips}
        rowKey={(chip) => chip.id}
      />
      {node.chips
        .filter((chip) => chip.health_note !== "")
        .map((chip) => (
          <p key={chip.id}>{t("cluster.healthOf", { index: chip.index, note: chip.health_note })}</p>
        ))}
    </Drawer>
  );
}

function Operate({ node }: { node: Node }) {
  const { t } = useTranslation();
  const me = useMe();
  const act = useActOnNode();
  const [asking, setAsking] = useState<NodeAction | null>(null);
  if (!me.user.is_operator) return null;
  const actions: NodeAction[] = node.state === "ready" ? ["cordon", "drain"] : ["return"];
  return (
    <div className={classes.actions}>
      {actions.map((action) => (
        <Button key={action} size="xs" variant="default" onClick={() => setAsking(action)}>
          {t(`cluster.do.${action}`)}
        </Button>
      ))}
      {asking && (
        <TypedConfirm
          title={t(`cluster.doTitle.${asking}`, { node: node.name })}
          reasonLabel={asking === "return" ? undefined : t("job.reason")}
          confirmLabel={t(`cluster.do.${asking}`)}
          confirm={(reason) => act(node.id, asking, reason)}
          close={() => setAsking(null)}
        >
          {t(`cluster.doHelp.${asking}`)}
        </TypedConfirm>
      )}
    </div>
  );
}
