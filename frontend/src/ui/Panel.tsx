import { type ReactNode, useEffect } from "react";
import classes from "./Panel.module.css";

type Props = { title?: ReactNode; aside?: ReactNode; children: ReactNode; flush?: boolean; label?: string };

/** A bordered surface with an optional heading. `flush` leaves the padding to the content. */
export function Panel({ title, aside, children, flush = false, label }: Props) {
  return (
    <section className={classes.panel} aria-label={label}>
      {(title || aside) && (
        <header className={classes.head}>
          <h2>{title}</h2>
          {aside && <div className={classes.aside}>{aside}</div>}
        </header>
      )}
      <div className={flush ? undefined : classes.body}>{children}</div>
    </section>
  );
}

type HeadProps = { title: ReactNode; name?: string; sub?: ReactNode; children?: ReactNode };

/** The page's heading. The window is called by `name`, or by the title where that is text. */
export function PageHead({ title, name, ...props }: HeadProps) {
  const called = name ?? (typeof title === "string" ? title : "");
  useEffect(() => {
    document.title = called ? `${called} · Flexai` : "Flexai";
    return () => {
      document.title = "Flexai";
    };
  }, [called]);
  return (
    <header className={classes.page}>
      <div className={classes.titles}>
        <h1>{title}</h1>
        {props.sub && <div className={classes.sub}>{props.sub}</div>}
      </div>
      {props.children && <div className={classes.actions}>{props.children}</div>}
    </header>
  );
}

export type Fact = { label: string; value: ReactNode; wide?: boolean };

/** Facts as a list of terms; those without a value are left out. */
export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <dl className={classes.facts}>
      {facts
        .filter(({ value }) => value !== null && value !== undefined && value !== "")
        .map(({ label, value, wide }) => (
          <div key={label} className={wide ? classes.wide : undefined}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
