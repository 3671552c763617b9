import { useState } from "react";
import { asProblem } from "../api/problem";

/** Carries out what a button or form asks for: one at a time, and what went wrong is said. */
export function useAct() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  async function act(what: () => Promise<unknown>): Promise<void> {
    setBusy(true);
    setProblem(null);
    try {
      await what();
    } catch (error) {
      const { message, errors } = asProblem(error);
      const wrong = errors.map(({ field, message: said, hint }) => [field, said, hint && `(${hint})`]);
      setProblem([message, ...wrong.map((words) => words.filter(Boolean).join(" "))].join(" · "));
    } finally {
      setBusy(false);
    }
  }
  return { busy, problem, act, forget: () => setProblem(null) };
}
