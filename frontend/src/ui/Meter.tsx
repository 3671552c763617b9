import { percent } from "./format";
import classes from "./Meter.module.css";

/** A share in permille as bar and number. */
export function Meter({ permille, label }: { permille: number | null | undefined; label: string }) {
  if (permille === null || permille === undefined) return <span className="quiet">—</span>;
  return (
    <span className={classes.meter} role="img" aria-label={`${label} ${percent(permille)}`}>
      <span className={classes.track}>
        <span className={classes.fill} style={{ width: `${Math.min(100, permille / 10)}%` }} />
      </span>
      <span className={`${classes.number} num`}>{percent(permille)}</span>
    </span>
  );
}
