/** Every chip at a glance, live; and the same as a table. */

import { SegmentedControl, TextInput } from "@mantine/core";
import { IconLayoutGrid, IconSearch, IconServerOff, IconTable } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import { liveChips, useLiveChips } from "../../api/chips";
import type { Node } from "../../api/types";
import { CIVIDIS_GRADIENT } from "../../ui/cividis";
import { DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading, NoMatch } from "../../ui/Faces";
import { count, percent, timeOfDay } from "../../ui/format";
import { PageHead, Panel } from "../../ui/Panel";
import { ChipMap } from "./ChipMap";
import { Lent, OutOfService } from "./ChipPanels";
import classes from "./ClusterPage.module.css";
import { useNodeColumns } from "./columns";
import {
  type ClusterModel,
  COLDEST_C,
  COLOURS,
  type ColourBy,
  HOTTEST_C,
  modelOf,
  tally,
  valuesOf,
} from "./model";
import { NodePanel } from "./NodePanel";
import { HEALTH_COLOURS } from "./paint";
import { useCluster, useNodes } from "./queries";
import { SavingsPanel } from "./SavingsPanel";

export function ClusterPage() {
  const { t } = useTranslation();
  const nodes = useNodes();
  const model = useMemo(() => modelOf(nodes.data ?? []), [nodes.data]);
  return (
    <>
      <PageHead title={t("cluster.title")} sub={<Subtitle model={model} updated={nodes.dataUpdatedAt} />}>
        <ColourSwitch />
      </PageHead>
      {nodes.isPending ? (
        <Panel flush>
          <Loading />
        </Panel>
      ) : !nodes.data ? (
        <Failed error={nodes.error} retry={() => void nodes.refetch()} />
      ) : nodes.data.length === 0 ? (
        <Panel flush>
          <Empty icon={<IconServerOff size={26} stroke={1.6} />} title={t("cluster.empty")}>
            {t("cluster.emptyHelp")}
          </Empty>
        </Panel>
      ) : (
        <Loaded model={model} />
      )}
    </>
  );
}

function Loaded({ model }: { model: ClusterModel }) {
  const { colour, node } = useSearch({ from: "/shell/cluster" });
  const navigate = useNavigate();
  const by: ColourBy = COLOURS.find((one) => one === colour) ?? "use";
  const at = useLiveChips();
  // biome-ignore lint/correctness/useExhaustiveDependencies: `at` stands for the newest frame in liveChips
  const values = useMemo(() => valuesOf(model, by, (id) => liveChips.of(id)), [model, by, at]);
  const open = (id: string | undefined) =>
    void navigate({ to: ".", search: (old) => ({ ...old, node: id }), replace: true });
  const opened = model.nodes.find((one) => one.id === node);
  return (
    <div className={classes.column}>
      <Panel flush label="Map">
        <Bar values={values} by={by} />
        <ChipMap model={model} values={values} by={by} selected={node} onOpen={open} />
      </Panel>
      <OutOfService nodes={model.nodes} onOpen={open} />
      <Lent nodes={model.nodes} onOpen={open} />
      <NodeTable nodes={model.nodes} onOpen={open} current={node} />
      <SavingsPanel />
      {opened && <NodePanel node={opened} close={() => open(undefined)} />}
    </div>
  );
}

function Subtitle({ model, updated }: { model: ClusterModel; updated: number }) {
  const { t } = useTranslation();
  const cluster = useCluster().data;
  const at = Math.max(useLiveChips(), updated);
  const simulated = model.nodes.filter((node) => node.simulated).length;
  return (
    <span className={classes.sub}>
      <span className="num">
        {t("cluster.nodes", { count: model.nodes.length, shown: count(model.nodes.length) })} ·{" "}
        {t("cluster.chips", { count: model.total, shown: count(model.total) })}
        {at > 0 && <> · {t("cluster.updated", { at: timeOfDay(at) })}</>}
      </span>
      {simulated > 0 && (
        <span className={classes.simulated}>
          {simulated === model.nodes.length
            ? t("cluster.allSimulated")
            : t("cluster.someSimulated", { nodes: count(simulated) })}
        </span>
      )}
      {cluster && !cluster.cycle.ok && cluster.cycle.error && (
        <span className={classes.broken}>{t("cluster.cycleFailed", { error: cluster.cycle.error })}</span>
      )}
    </span>
  );
}

function ColourSwitch() {
  const { t } = useTranslation();
  const { colour } = useSearch({ from: "/shell/cluster" });
  const navigate = useNavigate();
  return (
    <SegmentedControl
      className={classes.colours}
      aria-label={t("cluster.colourBy")}
      value={colour ?? "use"}
      onChange={(value) =>
        void navigate({
          to: ".",
          search: (old) => ({ ...old, colour: value === "use" ? undefined : value }),
          replace: true,
        })
      }
      data={COLOURS.map((value) => ({ value, label: t(`cluster.colours.${value}`) }))}
    />
  );
}

function Bar({ values, by }: { values: Uint16Array; by: ColourBy }) {
  const { t } = useTranslation();
  const now = tally(values);
  return (
    <div className={classes.bar}>
      <IconLayoutGrid size={17} aria-hidden />
      {by === "use" && (
        <>
          <span>
            <b className="num">{count(now.busy)}</b> {t("cluster.busy")}
          </span>
          <span>
            <b className="num">{count(now.idle)}</b> {t("cluster.idle")}
          </span>
        </>
      )}
      <span>
        <b className="num">{count(now.offline)}</b> {t("cluster.offline")}
      </span>
      {by !== "health" && by !== "temperature" && (
        <span>
          {t("cluster.mean")} <b className="num">{percent(now.mean_permille)}</b>
        </span>
      )}
      <Legend by={by} />
    </div>
  );
}

function Legend({ by }: { by: ColourBy }) {
  const { t } = useTranslation();
  const [low, high] = by === "temperature" ? [`${COLDEST_C} °C`, `${HOTTEST_C} °C`] : ["0 %", "100 %"];
  return (
    <span className={classes.legend}>
      {by === "health" ? (
        <>
          <i style={{ background: HEALTH_COLOURS.fine }} /> {t("cluster.fine")}
          <i style={{ background: HEALTH_COLOURS.away }} /> {t("cluster.away")}
          <i style={{ background: HEALTH_COLOURS.broken }} /> {t("cluster.broken")}
        </>
      ) : (
        <>
          {low} <i className={classes.scale} style={{ background: CIVIDIS_GRADIENT }} /> {high}
        </>
      )}
      <i className={classes.black} /> {t("cluster.offline")}
    </span>
  );
}

function NodeTable({
  nodes,
  onOpen,
  current,
}: {
  nodes: Node[];
  onOpen: (id: string) => void;
  current: string | undefined;
}) {
  const { t } = useTranslation();
  const { q } = useSearch({ from: "/shell/cluster" });
  const navigate = useNavigate();
  const columns = useNodeColumns(onOpen);
  const set = (text: string) =>
    void navigate({ to: ".", search: (old) => ({ ...old, q: text || undefined }), replace: true });
  const wanted = (q ?? "").toLowerCase();
  const rows = nodes.filter((node) =>
    `${node.name} ${node.pool} ${node.state} ${node.status} ${node.chips[0]?.type ?? ""} ${node.chips.map((chip) => chip.job?.name ?? "").join(" ")}`
      .toLowerCase()
      .includes(wanted),
  );
  return (
    <Panel
      flush
      title={
        <span className={classes.tableTitle}>
          <IconTable size={17} aria-hidden /> {t("cluster.nodes")}{" "}
          <span className="quiet num">{count(rows.length)}</span>
        </span>
      }
      aside={
        <TextInput
          size="sm"
          type="search"
          w={{ base: 190, xs: 240 }}
          aria-label={t("cluster.search")}
          placeholder={t("cluster.search")}
          leftSection={<IconSearch size={15} />}
          value={q ?? ""}
          onChange={(event) => set(event.currentTarget.value)}
        />
      }
    >
      {rows.length === 0 ? (
        <NoMatch clear={() => set("")} />
      ) : (
        <DataTable<Node>
          label={t("cluster.nodes")}
          columns={columns}
          rows={rows}
          rowKey={(node) => node.id}
          onOpen={(node) => onOpen(node.id)}
          current={current}
        />
      )}
    </Panel>
  );
}
