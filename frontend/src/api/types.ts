/** The server's nouns, under the names the pages use. The only importer of the generated `schema.d.ts` besides the client. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Status = Schemas["Status"];
export type Me = Schemas["Me"];
export type Job = Schemas["Job"];
export type JobDetail = Schemas["JobDetail"];
export type Attempt = Schemas["Attempt"];
export type JobEvent = Schemas["Event"];
export type OutputFile = Schemas["OutputFile"];
export type Outputs = Schemas["Outputs"];
export type Logs = Schemas["LogSlice"];
export type Explanation = Schemas["Explanation"];
export type Usage = Schemas["Usage"];
export type Chip = Schemas["Chip"];
export type Node = Schemas["Node"];
export type Cluster = Schemas["Cluster"];
export type Schedule = Schemas["Schedule"];
export type Quota = Schemas["Quota"];
export type BrowserSession = Schemas["BrowserSession"];
export type NewQuotaRequest = Schemas["NewQuotaRequestRequest"];
export type QuotaRequest = Schemas["QuotaRequest"];
export type Team = Schemas["Team"];
export type Webhook = Schemas["Webhook"];
export type WebhookEvent = Schemas["WebhookEvent"];
export type Role = Schemas["Role"];
export type Action = Schemas["Action"];
export type DryRun = Schemas["DryRun"];
export type Alternative = Schemas["Alternative"];
export type Token = Schemas["Token"];
export type SignIn = Schemas["SignIn"];
export type Announcement = Schemas["Announcement"];
export type TrustRule = Schemas["Rule"];
export type TeamSecret = Schemas["TeamSecret"];
export type Problem = Schemas["Problem"];
export type Spec = { [key: string]: unknown };
/** What the server takes as a spec; it refuses the rest by name. */
export type SpecRequest = Schemas["JobSpecRequest"];

/** Jobs that still change by themselves. */
const ENDED: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled", "timed_out"]);

/** True once nothing but a person can move the job again. */
export function isEnded(status: string): boolean {
  return ENDED.has(status);
}
