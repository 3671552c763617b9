import { type ReactNode, useState } from "react";

type Props = {
  /** What the spec says, as text. */
  value: string;
  /** What the spec would say if `text` were written into it. */
  write: (text: string) => string;
  children: (text: string, setText: (text: string) => void) => ReactNode;
};

/** Keeps what was typed (a trailing line, "1." on the way to "1.5") for as long as it means what the spec says. */
export function Remembered({ value, write, children }: Props) {
  const [typed, setTyped] = useState(value);
  const shown = write(typed) === value ? typed : value;
  return children(shown, setTyped);
}
