/**
 * One model behind form and YAML. The text is what the user sees in the editor; `good` is the newest text that
 * parsed, and `spec` what it says. A text that does not parse changes neither `good` nor `spec`: the form stays.
 */

import { isMap, parseDocument } from "yaml";
import type { Spec } from "../../api/types";

export type Trouble = { message: string; line: number; column: number };
export type Draft = { text: string; good: string; spec: Spec; trouble: Trouble | null };
export type Path = readonly string[];

/** The draft a text makes on its own. A broken one gives an empty spec: there is nothing earlier to keep. */
export function draftOf(text: string): Draft {
  return withText({ text: "", good: "", spec: {}, trouble: null }, text);
}

/** The user typed into the editor. */
export function withText(draft: Draft, text: string): Draft {
  const document = parseDocument(text, { prettyErrors: true });
  const error = document.errors[0];
  if (error) {
    const place = error.linePos?.[0];
    const message = error.message.split("\n")[0] ?? error.message;
    return { ...draft, text, trouble: { message, line: place?.line ?? 1, column: place?.col ?? 1 } };
  }
  if (document.contents !== null && !isMap(document.contents)) {
    return {
      ...draft,
      text,
      trouble: { message: "A job spec is a mapping of names to values.", line: 1, column: 1 },
    };
  }
  return { text, good: text, spec: (document.toJS() ?? {}) as Spec, trouble: null };
}

/**
 * The user changed a field of the form; undefined removes it. Comments and the fields the form does not know stay.
 * While the text does not parse, the change goes into `good`, and the broken text is left for the user to mend.
 */
export function withField(draft: Draft, path: Path, value: unknown): Draft {
  const document = parseDocument(draft.good || "{}");
  if (!isMap(document.contents)) document.contents = document.createNode({}) as never;
  if (isMap(document.contents)) document.contents.flow = false;
  if (value === undefined || value === "") {
    if (!document.hasIn(path)) return draft;
    remove(document, path);
  }
  // A plain value is put into the node that is there, so that its comment stays.
  else document.setIn(path, typeof value === "object" ? document.createNode(value) : value);
  const good = document.toString({ lineWidth: 0 });
  const spec = (document.toJS() ?? {}) as Spec;
  return draft.trouble ? { ...draft, good, spec } : { text: good, good, spec, trouble: null };
}

/** The draft with a JSON merge patch (RFC 7396) of its spec: field by field, so that comments stay. */
export function patched(draft: Draft, patch: Spec, above: Path = []): Draft {
  return Object.entries(patch).reduce((made, [key, value]) => {
    const path = [...above, key];
    if (isMapping(value))
      return isMapping(valueAt(made.spec, path))
        ? patched(made, value as Spec, path)
        : withField(made, path, value);
    return withField(made, path, value ?? undefined);
  }, draft);
}

/** Give up the broken text: the editor shows what the form says. */
export function restored(draft: Draft): Draft {
  return { ...draft, text: draft.good, trouble: null };
}

function isMapping(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function remove(document: ReturnType<typeof parseDocument>, path: Path): void {
  document.deleteIn(path);
  // A mapping that became empty says nothing: it goes too.
  const parent = path.slice(0, -1);
  const left = parent.length > 0 ? document.getIn(parent) : null;
  if (isMap(left) && left.items.length === 0) remove(document, parent);
}

/** The value at `path` of a spec; undefined where there is none. */
export function valueAt(spec: Spec, path: Path): unknown {
  let value: unknown = spec;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Spec)[key];
  }
  return value;
}
