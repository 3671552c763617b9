/** A table of rows that may be many: only those in sight are drawn. It knows nothing of what the rows are. */

import { Checkbox } from "@mantine/core";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import classes from "./DataTable.module.css";

export type Column<Row> = {
  key: string;
  title: string;
  render: (row: Row) => ReactNode;
  /** The name the server sorts by; without it the column does not sort. */
  sort?: string;
  align?: "right";
  width?: number | string;
  /** Left out below this width of the window, in pixels. */
  from?: 700 | 900 | 1100;
};

export type Selection = {
  has: (key: string) => boolean;
  toggle: (key: string) => void;
  all: () => void;
  size: number;
};

type Props<Row> = {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string;
  onOpen?: (row: Row) => void;
  sort?: string;
  onSort?: (sort: string) => void;
  selection?: Selection;
  current?: string;
};

/** Up to this many rows all are drawn; the browser is quicker than the window arithmetic. */
const DRAWN_WHOLE = 120;
const ROW_PX = 56;

export function DataTable<Row>(props: Props<Row>) {
  const { columns, rows, rowKey } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const windowed = useRowWindow(rows.length, body);
  const span = columns.length + (props.selection ? 1 : 0);
  return (
    <div className={classes.scroll}>
      <table className={classes.table} aria-label={props.label} aria-rowcount={rows.length}>
        <Head {...props} />
        <tbody ref={body}>
          {windowed.before > 0 && <Spacer span={span} height={windowed.before} />}
          {windowed.indexes.map((index) => {
            const row = rows[index];
            return row === undefined ? null : <Row key={rowKey(row)} row={row} {...props} />;
          })}
          {windowed.after > 0 && <Spacer span={span} height={windowed.after} />}
        </tbody>
      </table>
    </div>
  );
}

function useRowWindow(total: number, body: React.RefObject<HTMLElement | null>) {
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const box = body.current?.getBoundingClientRect();
    if (box) setTop(box.top + window.scrollY);
  }, [body]);
  const whole = total <= DRAWN_WHOLE;
  const rows = useWindowVirtualizer({
    count: total,
    estimateSize: () => ROW_PX,
    overscan: 12,
    scrollMargin: top,
    enabled: !whole,
  });
  if (whole) return { indexes: Array.from({ length: total }, (_, index) => index), before: 0, after: 0 };
  const items = rows.getVirtualItems();
  const first = items[0];
  const last = items.at(-1);
  return {
    indexes: items.map((item) => item.index),
    before: first ? first.start - top : 0,
    after: last ? rows.getTotalSize() - (last.end - top) : 0,
  };
}

function Spacer({ span, height }: { span: number; height: number }) {
  return (
    <tr aria-hidden>
      <td colSpan={span} style={{ height, padding: 0, border: 0 }} />
    </tr>
  );
}

function Head<Row>({ columns, rows, sort, onSort, selection }: Props<Row>) {
  const { t } = useTranslation();
  return (
    <thead>
      <tr>
        {selection && (
          <th className={classes.check}>
            <Checkbox
              size="xs"
              aria-label={t("table.selectAll")}
              checked={selection.size > 0 && selection.size === rows.length}
              indeterminate={selection.size > 0 && selection.size < rows.length}
              onChange={selection.all}
            />
          </th>
        )}
        {columns.map((column) => (
          <HeadCell key={column.key} column={column} sort={sort} onSort={onSort} />
        ))}
      </tr>
    </thead>
  );
}

function HeadCell<Row>(props: { column: Column<Row>; sort?: string; onSort?: (sort: string) => void }) {
  const { column, sort, onSort } = props;
  const down = sort === `-${column.sort}`;
  const active = column.sort !== undefined && (down || sort === column.sort);
  const Arrow = down ? IconArrowDown : IconArrowUp;
  return (
    <th
      data-align={column.align}
      data-from={column.from}
      style={{ width: column.width }}
      aria-sort={active ? (down ? "descending" : "ascending") : undefined}
    >
      {column.sort && onSort ? (
        <button
          type="button"
          className={classes.sort}
          onClick={() => onSort(down ? column.sort! : `-${column.sort}`)}
        >
          {column.title}
          {active && <Arrow size={13} aria-hidden />}
        </button>
      ) : (
        column.title
      )}
    </th>
  );
}

function Row<Row>({ row, columns, rowKey, onOpen, selection, current }: Props<Row> & { row: Row }) {
  const { t } = useTranslation();
  const key = rowKey(row);
  const selected = selection?.has(key) ?? false;
  return (
    // The first cell holds a real link; the click on the row is a convenience of the mouse.
    <tr
      data-row={key}
      data-selected={selected || key === current || undefined}
      data-open={onOpen ? true : undefined}
      onClick={onOpen && ((event) => opensRow(event) && onOpen(row))}
    >
      {selection && (
        <td className={classes.check}>
          <Checkbox
            size="xs"
            aria-label={t("table.select", { row: key })}
            checked={selected}
            onChange={() => selection.toggle(key)}
          />
        </td>
      )}
      {columns.map((column) => (
        <td key={column.key} data-align={column.align} data-from={column.from}>
          {column.render(row)}
        </td>
      ))}
    </tr>
  );
}

/** Clicks on links, buttons and boxes are theirs, and so is a selection of text. */
function opensRow(event: React.MouseEvent): boolean {
  const target = event.target as HTMLElement;
  return !target.closest("a,button,input,label") && !globalThis.getSelection?.()?.toString();
}
