import { Alert, Button, Divider, PasswordInput, TextInput } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import { meOptions } from "../../api/session";
import classes from "./LoginPage.module.css";
import { safeNext } from "./next";

export function LoginPage() {
  const { t } = useTranslation();
  const { next, refused } = useSearch({ from: "/login" });
  const client = useQueryClient();
  const navigate = useNavigate();
  const [problem, setProblem] = useState<string | null>(refused ? t(`login.refused.${refused}`) : null);
  const [provider, setProvider] = useState<string | null>(null);
  const [asksCode, setAsksCode] = useState(false);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    // The first answer sets the CSRF cookie that signing in needs.
    body(api.GET("/api/v1/session"))
      .then((session) => setProvider(session.single_sign_on))
      .catch((error) => setProblem(asProblem(error).message));
    document.title = "Flexai";
  }, []);

  async function signIn(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem(null);
    try {
      const username = String(form.get("username"));
      const me = await body(
        api.POST("/api/v1/session", {
          body: {
            username,
            password: String(form.get("password")),
            ...(asksCode && { code: String(form.get("code")) }),
          },
        }),
      );
      client.clear();
      client.setQueryData(meOptions().queryKey, me);
      // The console is not a page of this application: the browser itself has to go there.
      if (safeNext(next).startsWith("/console")) window.location.assign(safeNext(next));
      else await navigate({ href: safeNext(next) });
    } catch (error) {
      const refused = asProblem(error);
      // The password is right. The first time, nothing is wrong yet: a code was not asked for.
      setProblem(refused.code === "second_factor" && !asksCode ? null : refused.message);
      setAsksCode(refused.code === "second_factor");
      setBusy(false);
    }
  }

  return (
    <main className={classes.page}>
      <form className={classes.card} onSubmit={(event) => void signIn(event)}>
        <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width={44} height={44} />
        <h1>{t("login.title")}</h1>
        <p>{t(provider ? "login.helpProvider" : "login.help")}</p>
        {problem && (
          <Alert
            color="red"
            variant="outline"
            icon={<IconAlertTriangle size={18} />}
            role="alert"
            className={classes.alert}
          >
            {problem}
          </Alert>
        )}
        {provider && (
          <>
            <Button
              component="a"
              href={`/sign-in/oidc?next=${encodeURIComponent(safeNext(next))}`}
              variant="default"
              fullWidth
            >
              {t("login.provider", { name: provider })}
            </Button>
            <Divider label={t("login.or")} />
          </>
        )}
        <TextInput
          name="username"
          label={t("login.username")}
          autoComplete="username"
          required
          withAsterisk={false}
          autoFocus
        />
        <PasswordInput
          name="password"
          label={t("login.password")}
          autoComplete="current-password"
          required
          withAsterisk={false}
        />
        {asksCode && (
          <TextInput
            name="code"
            label={t("login.code")}
            description={t("login.codeHelp")}
            autoComplete="one-time-code"
            required
            withAsterisk={false}
            autoFocus
          />
        )}
        <Button type="submit" loading={busy} fullWidth mt={6}>
          {t("login.submit")}
        </Button>
      </form>
    </main>
  );
}
