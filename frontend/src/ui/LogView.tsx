/** Lines of a log, only those in sight. Follows the end until somebody scrolls up; asks for earlier lines at the top. */

import { Button } from "@mantine/core";
import { IconArrowDown } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { spans, visible } from "./ansi";
import classes from "./LogView.module.css";

type Props = {
  lines: readonly string[];
  follow: boolean;
  onFollow: (follow: boolean) => void;
  wrap: boolean;
  find: string;
  hasEarlier: boolean;
  onEarlier: () => void;
};

const LINE_PX = 20;
/** Nearer than this to the end counts as at the end. */
const AT_END_PX = 24;

export function LogView({ lines, follow, onFollow, wrap, find, hasEarlier, onEarlier }: Props) {
  const { t } = useTranslation();
  const box = useRef<HTMLDivElement>(null);
  const ourScroll = useRef(false);
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => LINE_PX,
    overscan: 30,
    initialRect: { width: 900, height: 560 },
  });
  useKeepPlace(box, lines, follow);

  useLayoutEffect(() => {
    const element = box.current;
    if (!follow || !element || lines.length === 0) return;
    ourScroll.current = true;
    element.scrollTop = element.scrollHeight;
  }, [follow, lines.length, lines]);

  function scrolled() {
    const element = box.current;
    if (!element) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    if (ourScroll.current) ourScroll.current = false;
    else if (atEnd !== follow) onFollow(atEnd);
    if (element.scrollTop < 200 && hasEarlier) onEarlier();
  }

  return (
    <div className={classes.frame}>
      <div
        ref={box}
        className={classes.box}
        onScroll={scrolled}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolled region must be reachable by keyboard
        tabIndex={0}
        role="log"
        aria-label={t("logs.title")}
      >
        <div
          style={{ height: rows.getTotalSize(), position: "relative", minWidth: wrap ? 0 : "max-content" }}
        >
          <div
            style={{ transform: `translateY(${rows.getVirtualItems()[0]?.start ?? 0}px)` }}
            className={classes.lines}
          >
            {rows.getVirtualItems().map((item) => (
              <div
                key={item.key}
                data-index={item.index}
                ref={wrap ? rows.measureElement : undefined}
                className={wrap ? classes.wrapped : classes.line}
              >
                <Line text={lines[item.index] ?? ""} find={find} />
              </div>
            ))}
          </div>
        </div>
      </div>
      {!follow && (
        <Button
          className={classes.jump}
          size="xs"
          radius="xl"
          leftSection={<IconArrowDown size={14} />}
          onClick={() => onFollow(true)}
        >
          {t("logs.toEnd")}
        </Button>
      )}
    </div>
  );
}

/** When earlier lines come in above, what was in sight stays in sight. */
function useKeepPlace(
  box: React.RefObject<HTMLDivElement | null>,
  lines: readonly string[],
  follow: boolean,
) {
  const before = useRef({ last: "", count: 0, height: 0 });
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const grown = lines.length - before.current.count;
    const above =
      grown > 0 && before.current.count > 0 && lines[before.current.count - 1] !== before.current.last;
    if (above && !follow) element.scrollTop += element.scrollHeight - before.current.height;
    before.current = { last: lines.at(-1) ?? "", count: lines.length, height: element.scrollHeight };
  }, [box, lines, follow]);
}

function Line({ text, find }: { text: string; find: string }) {
  const shown = visible(text);
  const hit = find !== "" && shown.toLowerCase().includes(find.toLowerCase());
  const parts = spans(shown);
  return (
    <span className={hit ? classes.hit : undefined}>
      {parts.length === 0
        ? "\u200b"
        : parts.map((part, index) => (
            <span
              // biome-ignore lint/suspicious/noArrayIndexKey: the spans of a line have no identity but their place
              key={index}
              className={
                part.style
                  ? part.style
                      .split(" ")
                      .map((name) => classes[name])
                      .join(" ")
                  : undefined
              }
            >
              {part.text}
            </span>
          ))}
    </span>
  );
}
