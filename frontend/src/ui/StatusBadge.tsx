import classes from "./StatusBadge.module.css";
import { faceOf } from "./status";

/** A status as icon and word; `plain` leaves the outline away, for dense tables. */
export function StatusBadge({ status, plain = false }: { status: string; plain?: boolean }) {
  const { icon: Icon, colour, word, moving } = faceOf(status);
  return (
    <span
      className={plain ? classes.plain : classes.badge}
      style={{ color: colour }}
      data-status={status}
      data-testid="status"
    >
      <Icon size={13} stroke={2.4} aria-hidden className={moving ? classes.moving : undefined} />
      {word}
    </span>
  );
}
