import { useEffect, useState } from "react";

/** The present, in milliseconds, renewed every `every_ms`; a clock that stands still while `running` is false. */
export function useNow(every_ms = 1000, running = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setNow(Date.now()), every_ms);
    return () => clearInterval(timer);
  }, [every_ms, running]);
  return now;
}
