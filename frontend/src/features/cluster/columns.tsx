import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { liveChips } from "../../api/chips";
import type { Chip, Node } from "../../api/types";
import { cividis } from "../../ui/cividis";
import type { Column } from "../../ui/DataTable";
import { ago, memory, milli, NOTHING, percent } from "../../ui/format";
import { TextLink } from "../../ui/links";
import { Meter } from "../../ui/Meter";
import { StatusBadge } from "../../ui/StatusBadge";
import { ChipSwitch } from "./ChipSwitch";
import classes from "./ClusterPage.module.css";

export function Simulated() {
  const { t } = useTranslation();
  return <span className={classes.simulated}>{t("cluster.simulated")}</span>;
}

/** Use of a chip now: this second's if heard, else the last that was read. */
export function shareOf(node: Node, chip: Chip): number | null {
  const now = liveChips.of(node.id)?.[chip.index];
  return now === undefined ? chip.use_permille : now;
}

export function useNodeColumns(onOpen: (id: string) => void): Column<Node>[] {
  const { t } = useTranslation();
  return useMemo(
    () => [
      {
        key: "name",
        title: t("cluster.column.node"),
        render: (node) => (
          <span className={classes.node}>
            <span className={classes.name}>
              <button type="button" className={classes.open} onClick={() => onOpen(node.id)}>
                {node.name}
              </button>
              {node.simulated && <Simulated />}
            </span>
            <small className="quiet">{[node.pool, ...(node.topology ?? [])].join(" · ")}</small>
          </span>
        ),
      },
      {
        key: "status",
        title: t("jobs.column.status"),
        width: 140,
        render: (node) => <StatusBadge status={statusOf(node)} />,
      },
      { key: "type", title: t("cluster.column.type"), from: 900, render: (node) => typeOf(node) },
      { key: "chips", title: t("cluster.column.chips"), render: (node) => <Strip node={node} /> },
      {
        key: "allocated",
        title: t("cluster.column.allocated"),
        align: "right",
        width: 110,
        render: (node) => `${milli(sum(node, "used_milli"))} / ${node.chips.length}`,
      },
      {
        key: "cpu",
        title: t("cluster.column.cpu"),
        width: 150,
        from: 1100,
        render: (node) => <Meter permille={node.use?.cpu_permille} label={t("cluster.column.cpu")} />,
      },
      {
        key: "memory",
        title: t("cluster.column.memory"),
        align: "right",
        from: 1100,
        render: (node) => `${memory(node.use?.memory_mib)} / ${memory(node.memory_mib)}`,
      },
      {
        key: "seen",
        title: t("cluster.column.seen"),
        width: 110,
        from: 900,
        render: (node) => <span className="quiet num">{ago(node.last_seen_at, Date.now())}</span>,
      },
    ],
    [t, onOpen],
  );
}

export function statusOf(node: Node): string {
  return node.contact === "unreachable" ? "unreachable" : node.state;
}

function typeOf(node: Node): string {
  return [...new Set(node.chips.map((chip) => chip.type))].join(", ") || NOTHING;
}

function sum(node: Node, field: "used_milli"): number {
  return node.chips.reduce((total, chip) => total + chip[field], 0);
}

const MOST = 16;

function Strip({ node }: { node: Node }) {
  const shares = node.chips.map((chip) => shareOf(node, chip));
  const known = shares.filter((share): share is number => share !== null);
  const mean = known.length > 0 ? known.reduce((total, share) => total + share, 0) / known.length : null;
  return (
    <span className={classes.strip} role="img" aria-label={percent(mean)} title={percent(mean)}>
      {node.chips.slice(0, MOST).map((chip, index) => {
        const share = node.contact === "unreachable" ? null : shares[index];
        return (
          <i
            key={chip.id}
            style={{ background: share === null || share === undefined ? "#000" : cividis(share) }}
          />
        );
      })}
    </span>
  );
}

export function useChipColumns(node: Node): Column<Chip>[] {
  const { t } = useTranslation();
  return [
    { key: "index", title: t("cluster.column.chip"), render: (chip) => <b className="num">{chip.index}</b> },
    {
      key: "use",
      title: t("jobs.column.use"),
      render: (chip) => <Meter permille={shareOf(node, chip)} label={t("jobs.column.use")} />,
    },
    {
      key: "memory",
      title: t("cluster.column.memory"),
      align: "right",
      from: 700,
      render: (chip) => (
        <span className={classes.node}>
          {memory(chip.live_memory_mib)} <small className="quiet">/ {memory(chip.memory_mib)}</small>
        </span>
      ),
    },
    {
      key: "allocated",
      title: t("cluster.column.allocated"),
      align: "right",
      render: (chip) => milli(chip.used_milli),
    },
    {
      key: "job",
      title: t("jobs.column.job"),
      render: (chip) =>
        chip.job ? (
          <TextLink to="/jobs/$id" params={{ id: chip.job.id }} fz={14}>
            {chip.job.name}
          </TextLink>
        ) : (
          <span className="quiet">{NOTHING}</span>
        ),
    },
    {
      key: "temperature",
      title: "°C",
      align: "right",
      from: 700,
      render: (chip) => chip.temperature_c ?? NOTHING,
    },
    { key: "do", title: "", align: "right", render: (chip) => <ChipSwitch node={node} chip={chip} /> },
  ];
}
