/** One's own: how one signs in, and the tokens that act in one's name. */

import { useTranslation } from "react-i18next";
import { useMe } from "../../api/session";
import { PageHead } from "../../ui/Panel";
import classes from "./AccountPage.module.css";
import { SecondFactor } from "./SecondFactor";
import { Sessions } from "./Sessions";
import { Tokens } from "./Tokens";

export function AccountPage() {
  const { t } = useTranslation();
  const { user, organization } = useMe();
  const who = [user.username, user.email, organization.name].filter(Boolean).join(" · ");
  return (
    <>
      <PageHead title={t("account.title")} sub={who} />
      <div className={classes.column}>
        <SecondFactor />
        <Sessions />
        <Tokens />
      </div>
    </>
  );
}
