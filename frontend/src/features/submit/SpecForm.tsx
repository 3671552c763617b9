/** The common fields of a spec. What the form does not know stays in the YAML untouched. */

import { Checkbox, MultiSelect, NumberInput, Select, Textarea, TextInput } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Spec } from "../../api/types";
import { type Path, valueAt } from "./draft";
import {
  readAccelerators,
  readCommands,
  readPairs,
  readPlain,
  readSecrets,
  writeAccelerators,
  writeCommands,
  writePairs,
  writePlain,
} from "./fields";
import { Remembered } from "./Remembered";
import classes from "./SubmitPage.module.css";

type Props = {
  spec: Spec;
  types: string[];
  teams: string[];
  /** Names that jobs of the chosen team may use. */
  secrets: string[];
  problems: { field: string; message: string; hint?: string | null }[];
  change: (path: Path, value: unknown) => void;
};

export function SpecForm(props: Props) {
  const { t } = useTranslation();
  const { spec, teams, change } = props;
  const error = errorsOf(props.problems);
  return (
    <div className={classes.form}>
      <div className={classes.pair}>
        <TextInput
          label={t("field.name")}
          value={readPlain(spec.name)}
          error={error("name")}
          onChange={(event) => change(["name"], event.currentTarget.value || undefined)}
        />
        <Select
          label={t("field.team")}
          data={[...new Set([...teams, readPlain(spec.team)])].filter(Boolean)}
          value={readPlain(spec.team) || null}
          error={error("team")}
          onChange={(value) => change(["team"], value ?? undefined)}
        />
      </div>
      <Remembered value={readCommands(spec.commands)} write={(text) => readCommands(writeCommands(text))}>
        {(text, setText) => (
          <Textarea
            label={t("field.commands")}
            description={t("field.commandsHelp")}
            autosize
            minRows={3}
            maxRows={12}
            spellCheck={false}
            classNames={{ input: classes.code }}
            error={error("commands")}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              change(["commands"], writeCommands(event.currentTarget.value));
            }}
          />
        )}
      </Remembered>
      <Chips {...props} error={error} />
      <Host {...props} error={error} />
      <Policy {...props} error={error} />
      <Remembered value={readPairs(spec.env)} write={(text) => readPairs(writePairs(text))}>
        {(text, setText) => (
          <Textarea
            label={t("field.env")}
            description={t("field.envHelp")}
            autosize
            minRows={1}
            maxRows={8}
            spellCheck={false}
            classNames={{ input: classes.code }}
            error={error("env")}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              change(["env"], writePairs(event.currentTarget.value));
            }}
          />
        )}
      </Remembered>
      <Secrets {...props} error={error} />
    </div>
  );
}

type Part = Props & { error: (field: string) => string | undefined };

/** Nothing where there are none to choose from, and none that the spec names. */
function Secrets({ spec, secrets, change, error }: Part) {
  const { t } = useTranslation();
  const chosen = readSecrets(spec.secrets);
  if (chosen === null || secrets.length + chosen.length === 0) return null;
  return (
    <MultiSelect
      label={t("field.secrets")}
      description={t("field.secretsHelp")}
      data={[...new Set([...secrets, ...chosen])]}
      value={chosen}
      error={error("secrets")}
      searchable
      onChange={(names) => change(["secrets"], names.length > 0 ? names : undefined)}
    />
  );
}

function Chips({ spec, types, change, error }: Part) {
  const { t } = useTranslation();
  const path = ["resources", "accelerators"];
  const chips = readAccelerators(valueAt(spec, path));
  const fraction = valueAt(spec, ["resources", "fraction"]);
  return (
    <fieldset className={classes.group}>
      <legend>{t("field.chips")}</legend>
      <div className={classes.triple}>
        <Select
          label={t("field.chipType")}
          placeholder={t("field.cpuOnly")}
          clearable
          data={[...new Set([...types, chips.type])].filter(Boolean)}
          value={chips.type || null}
          error={error("resources.accelerators")}
          onChange={(type) => change(path, writeAccelerators(type ?? "", Math.max(1, chips.count)))}
        />
        <NumberInput
          label={t("field.chipCount")}
          min={1}
          max={1024}
          allowDecimal={false}
          disabled={!chips.type || !chips.plain}
          value={chips.type && chips.count ? chips.count : ""}
          onChange={(count) => change(path, writeAccelerators(chips.type, Number(count) || 1))}
        />
        <NumberInput
          label={t("field.fraction")}
          placeholder={t("field.whole")}
          min={0.01}
          max={1}
          step={0.1}
          disabled={!chips.type}
          value={typeof fraction === "number" ? fraction : ""}
          error={error("resources.fraction")}
          onChange={(value) =>
            change(["resources", "fraction"], value === "" || Number(value) >= 1 ? undefined : Number(value))
          }
        />
      </div>
    </fieldset>
  );
}

function Host({ spec, change, error }: Part) {
  const { t } = useTranslation();
  const plain = (field: string, path: Path, placeholder?: string) => (
    <Remembered value={readPlain(valueAt(spec, path))} write={(text) => readPlain(writePlain(text))}>
      {(text, setText) => (
        <TextInput
          label={t(`field.${field}`)}
          placeholder={placeholder}
          error={error(path.join("."))}
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            change(path, writePlain(event.currentTarget.value));
          }}
        />
      )}
    </Remembered>
  );
  return (
    <>
      <fieldset className={classes.group}>
        <legend>{t("field.replicas")}</legend>
        <div className={classes.triple}>
          {plain("nodes", ["nodes"], "1")}
          {plain("cpus", ["resources", "cpus"], t("field.automatic"))}
          {plain("memory", ["resources", "memory"], "16GB")}
        </div>
      </fieldset>
      <fieldset className={classes.group}>
        <legend>{t("field.run")}</legend>
        <div className={classes.triple}>
          {plain("maxDuration", ["max_duration"], "4h")}
          {plain("deadline", ["deadline"], "8h")}
          {plain("retry", ["retry", "limit"], "0")}
          {plain("array", ["array"], "0-9%4")}
        </div>
      </fieldset>
    </>
  );
}

function Policy({ spec, change, error }: Part) {
  const { t } = useTranslation();
  const priority = readPlain(spec.priority);
  return (
    <div className={classes.pair}>
      <Select
        label={t("field.priority")}
        placeholder={t("field.priorityDefault")}
        clearable
        data={[...new Set(["low", "normal", "high", priority])].filter(Boolean)}
        value={priority || null}
        error={error("priority")}
        onChange={(value) => change(["priority"], writePlain(value ?? ""))}
      />
      <Checkbox
        className={classes.check}
        label={t("field.preemptible")}
        checked={spec.preemptible === true}
        onChange={(event) => change(["preemptible"], event.currentTarget.checked ? true : undefined)}
      />
    </div>
  );
}

function errorsOf(problems: Props["problems"]) {
  return (field: string): string | undefined => {
    const found = problems.find(
      (problem) =>
        problem.field === field ||
        problem.field.startsWith(`${field}.`) ||
        problem.field.startsWith(`${field}[`),
    );
    return found && [found.message, found.hint].filter(Boolean).join(" ");
  };
}
