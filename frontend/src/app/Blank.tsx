import { IconMapQuestion } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { Empty, Loading } from "../ui/Faces";

export function Waiting() {
  return <Loading />;
}

export function NotFound() {
  const { t } = useTranslation();
  return (
    <Empty
      icon={<IconMapQuestion size={26} stroke={1.6} />}
      title={t("notFound.title")}
      action={<Link to="/">{t("notFound.home")}</Link>}
    >
      {t("notFound.help")}
    </Empty>
  );
}
