/** Chips that are not as others: out of service and why, or lent and to whom. Nothing where there are none. */

import { useTranslation } from "react-i18next";
import type { Chip, Node } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { ago, count, duration, milli, NOTHING, percent } from "../../ui/format";
import { TextLink } from "../../ui/links";
import { Panel } from "../../ui/Panel";
import { StatusBadge } from "../../ui/StatusBadge";
import { useNow } from "../../ui/useNow";
import { ChipSwitch } from "./ChipSwitch";
import classes from "./ClusterPage.module.css";
import { isOut, stateOf } from "./model";

type Open = (node: string) => void;
type Placed = { node: Node; chip: Chip };
type Guest = Placed & { guest: Chip["guests"][number] | null };

function placed(nodes: Node[], wanted: (chip: Chip) => boolean): Placed[] {
  return nodes.flatMap((node) => node.chips.filter(wanted).map((chip) => ({ node, chip })));
}

export function OutOfService({ nodes, onOpen }: { nodes: Node[]; onOpen: Open }) {
  const { t } = useTranslation();
  const rows = placed(nodes, isOut);
  if (rows.length === 0) return null;
  const columns: Column<Placed>[] = [
    nameColumn(t("cluster.column.chip"), onOpen),
    {
      key: "state",
      title: t("jobs.column.status"),
      width: 140,
      from: 700,
      render: ({ chip }) => <StatusBadge status={stateOf(chip)} />,
    },
    { key: "type", title: t("cluster.column.type"), from: 900, render: ({ chip }) => chip.type },
    { key: "why", title: t("cluster.column.why"), render: ({ chip }) => chip.health_note || NOTHING },
    { key: "job", title: t("jobs.column.job"), from: 900, render: ({ chip }) => <Job job={chip.job} /> },
    { key: "do", title: "", align: "right", render: (row) => <ChipSwitch {...row} /> },
  ];
  return (
    <Panel flush title={<Title words={t("cluster.out")} rows={rows.length} />}>
      <DataTable label={t("cluster.out")} columns={columns} rows={rows} rowKey={({ chip }) => chip.id} />
    </Panel>
  );
}

export function Lent({ nodes, onOpen }: { nodes: Node[]; onOpen: Open }) {
  const { t } = useTranslation();
  const now = useNow(10_000);
  const lent = placed(nodes, (chip) => chip.guest_milli > 0);
  if (lent.length === 0) return null;
  // A guest of another organization is not told: that the chip is lent is.
  const rows = lent.flatMap((one): Guest[] =>
    one.chip.guests.length > 0
      ? one.chip.guests.map((guest) => ({ ...one, guest }))
      : [{ ...one, guest: null }],
  );
  const columns: Column<Guest>[] = [
    nameColumn(t("cluster.column.chip"), onOpen),
    { key: "owner", title: t("cluster.column.owner"), render: ({ chip }) => <Job job={chip.job} /> },
    {
      key: "idle",
      title: t("cluster.column.ownerIdle"),
      from: 900,
      render: ({ guest }) =>
        guest?.owner_idle_since
          ? `${duration(now - Date.parse(guest.owner_idle_since))} · ${percent(guest.owner_use_permille)}`
          : NOTHING,
    },
    {
      key: "guest",
      title: t("cluster.column.guest"),
      render: ({ guest }) =>
        guest ? <Job job={guest} /> : <span className="quiet">{t("cluster.foreignGuest")}</span>,
    },
    {
      key: "part",
      title: t("cluster.column.part"),
      align: "right",
      from: 700,
      render: ({ chip, guest }) => milli(guest?.milli ?? chip.guest_milli),
    },
    {
      key: "since",
      title: t("cluster.column.lentSince"),
      render: ({ guest }) =>
        guest ? (
          <>
            {ago(guest.since, now)}
            {guest.halted_at && <small className="quiet"> · {t("cluster.halted")}</small>}
          </>
        ) : (
          NOTHING
        ),
    },
  ];
  return (
    <Panel flush title={<Title words={t("cluster.lent")} rows={lent.length} />}>
      <DataTable
        label={t("cluster.lent")}
        columns={columns}
        rows={rows}
        rowKey={({ chip, guest }) => `${chip.id} ${guest?.id ?? ""}`}
      />
    </Panel>
  );
}

function nameColumn<Row extends Placed>(title: string, onOpen: Open): Column<Row> {
  return {
    key: "chip",
    title,
    render: ({ node, chip }) => (
      <button type="button" className={classes.open} onClick={() => onOpen(node.id)}>
        {node.name}:{chip.index}
      </button>
    ),
  };
}

function Title({ words, rows }: { words: string; rows: number }) {
  return (
    <>
      {words} <span className="quiet num">{count(rows)}</span>
    </>
  );
}

function Job({ job }: { job: { id: string; name: string } | null }) {
  if (!job) return <span className="quiet">{NOTHING}</span>;
  return (
    <TextLink to="/jobs/$id" params={{ id: job.id }} fz={14}>
      {job.name}
    </TextLink>
  );
}
