/** Trust rules as a pipeline's owner thinks of them: a project, a branch; and what the pipeline then says. */

export type System = "github" | "gitlab";

export const ISSUERS: { [system in System]: string } = {
  github: "https://token.actions.githubusercontent.com",
  gitlab: "https://gitlab.com",
};

/** The claims that the identity of this project's pipelines has; of one branch, or of all. */
export function claimsOf(system: System, project: string, branch: string): { [claim: string]: string } {
  if (system === "github") return { repository: project, ...(branch && { ref: `refs/heads/${branch}` }) };
  return { project_path: project, ...(branch && { ref: branch, ref_type: "branch" }) };
}

/** Which system's words the claims are; what was made by hand may be neither's. */
export function systemOf(claims: { [claim: string]: unknown }): System {
  return "project_path" in claims || "namespace_path" in claims || "project_id" in claims
    ? "gitlab"
    : "github";
}

/** Five lines that run a job of `job.yaml` by the rule. */
export function exampleOf(system: System, rule: string, server: string): string {
  const login = `pip install flexai && flexai login --oidc ${server} --rule ${rule}`;
  const lines =
    system === "github"
      ? [
          "permissions: {id-token: write, contents: read}",
          "steps:",
          "  - uses: actions/checkout@v4",
          `  - run: ${login}`,
          "  - run: flexai apply -f job.yaml --wait",
        ]
      : [
          "train:",
          `  id_tokens: {FLEXAI_ID_TOKEN: {aud: ${rule}}}`,
          "  script:",
          `    - ${login}`,
          "    - flexai apply -f job.yaml --wait",
        ];
  return lines.join("\n");
}
