import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./en.json";

/** English is shipped; another language is one more file of the same keys. */
void i18next.use(initReactI18next).init({
  lng: "en",
  fallbackLng: "en",
  resources: { en: { translation: en } },
  interpolation: { escapeValue: false },
  showSupportNotice: false,
} as Parameters<typeof i18next.init>[0]);

export { i18next };
