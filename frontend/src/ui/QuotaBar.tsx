import { milli } from "./format";
import classes from "./QuotaBar.module.css";

type Share = { used_milli: number; guaranteed_milli: number; limit_milli: number | null };

/** Used against guarantee and limit. What lies over the guarantee is striped: it can be taken back. */
export function QuotaBar({ label, share }: { label: string; share: Share }) {
  const { used_milli: used, guaranteed_milli: guaranteed, limit_milli: limit } = share;
  const over = Math.max(0, used - guaranteed);
  const full = Math.max(limit ?? 0, used, guaranteed, 1);
  const wide = (value: number) => `${(100 * value) / full}%`;
  const words = [
    `${milli(used)} used`,
    `${milli(guaranteed)} guaranteed`,
    ...(over > 0 ? [`+${milli(over)} over`] : []),
    limit === null ? "no limit" : `${milli(limit)} limit`,
  ].join(" · ");
  return (
    <div className={classes.quota}>
      <div className={classes.words}>
        <strong>{label}</strong>
        <span className="num quiet">{words}</span>
      </div>
      <div className={classes.track} role="img" aria-label={`${label}: ${words}`}>
        <span className={classes.used} style={{ width: wide(used - over) }} />
        {over > 0 && <span className={classes.over} style={{ left: wide(guaranteed), width: wide(over) }} />}
        {guaranteed > 0 && (
          <span className={classes.mark} style={{ left: `min(${wide(guaranteed)}, 100% - 5px)` }} />
        )}
      </div>
    </div>
  );
}

export function QuotaLegend() {
  return (
    <div className={classes.legend} aria-hidden>
      <span>
        <i className={classes.keyUsed} /> within the guarantee
      </span>
      <span>
        <i className={classes.keyOver} /> over quota, can be taken back
      </span>
      <span>
        <i className={classes.keyMark} /> guarantee
      </span>
    </div>
  );
}
