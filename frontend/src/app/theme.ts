import { createTheme, localStorageColorSchemeManager, type MantineColorsTuple } from "@mantine/core";

const brand: MantineColorsTuple = [
  "#eef1ff",
  "#dde4ff",
  "#bac8ff",
  "#91a7ff",
  "#748ffc",
  "#5c7cfa",
  "#4c6ef5",
  "#3b5bdb",
  "#3450c4",
  "#2b44a8",
];

const dark: MantineColorsTuple = [
  "#e6eaf0",
  "#c3ccd8",
  "#a9b4c2",
  "#97a3b3",
  "#3a4350",
  "#2b323c",
  "#1f252d",
  "#171b21",
  "#12151a",
  "#0d0f13",
];

export const theme = createTheme({
  primaryColor: "brand",
  primaryShade: 7,
  colors: { brand, dark },
  fontFamily:
    '"Inter Variable", Inter, system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif',
  fontFamilyMonospace: "var(--mono)",
  defaultRadius: 8,
  cursorType: "pointer",
  headings: { fontWeight: "650" },
  respectReducedMotion: true,
  components: {
    Tooltip: { defaultProps: { openDelay: 250, withArrow: true } },
    Modal: { defaultProps: { centered: true, radius: 12, closeButtonProps: { "aria-label": "Close" } } },
    Drawer: { defaultProps: { radius: 0, closeButtonProps: { "aria-label": "Close" } } },
  },
});

/** The same key as public/theme.js, which sets the theme before the first paint. */
export const colorSchemeManager = localStorageColorSchemeManager({ key: "flexai-color-scheme" });
