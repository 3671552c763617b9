/** The same job, for the terminal and for a program. */

import type { Spec } from "../../api/types";

/** A shell word that stands for exactly `text`. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Writes the spec beside the user and submits it by command line. */
export function asCli(yaml: string): string {
  const mark = yaml.includes("\nEOF\n") ? "END_OF_JOB" : "EOF";
  return `cat > job.yaml <<'${mark}'\n${yaml.trimEnd()}\n${mark}\nflexai apply -f job.yaml`;
}

export function asCurl(spec: Spec, origin: string): string {
  return [
    `curl -X POST ${quoted(`${origin}/api/v1/jobs`)} \\`,
    '  -H "Authorization: Bearer $FLEXAI_TOKEN" \\',
    "  -H 'Content-Type: application/json' \\",
    '  -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \\',
    `  -d ${quoted(JSON.stringify(spec, null, 2))}`,
  ].join("\n");
}
