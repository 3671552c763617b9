/** Saves a whole log as a file, read in pieces so that no answer is large. */

import type { Logs } from "../../api/types";

const PIECE_BYTES = 1_048_576;

type Read = (offset: number, limit_bytes: number) => Promise<Logs>;

/** The whole log as text pieces, in order. It ends where the log ended when it was reached. */
export async function pieces(read: Read): Promise<string[]> {
  const found: string[] = [];
  let offset = 0;
  for (;;) {
    const logs = await read(offset, PIECE_BYTES);
    found.push(logs.text);
    if (logs.next_offset <= offset || logs.next_offset >= logs.size) return found;
    offset = logs.next_offset;
  }
}

export async function download(name: string, read: Read): Promise<void> {
  const address = URL.createObjectURL(new Blob(await pieces(read), { type: "text/plain;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
