import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where a running platform answers while developing with `npm run dev`. */
const platform = process.env.FLEXAI_URL ?? "http://127.0.0.1:8000";

export default defineConfig(({ command }) => ({
  // Django serves the built files under its static address; the development server is its own root.
  base: command === "build" ? "/static/app/" : "/",
  plugins: [react()],
  build: {
    outDir: "../platform/flexai/frontend_dist",
    emptyOutDir: true,
    // No inlined data: the content security policy allows 'self' only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 600,
    rolldownOptions: {
      output: {
        // A few files for what every page needs; what only one page needs stays with that page.
        codeSplitting: {
          groups: [
            {
              name: "framework",
              test: /node_modules\/(react|react-dom|scheduler|@tanstack\/(?!.*virtual)|i18next|react-i18next|openapi-)/,
            },
            {
              name: "components",
              test: /node_modules\/(@mantine\/(?!spotlight)|@floating-ui|@tabler|react-remove-scroll|clsx)/,
            },
            { name: "base", test: /src\/(api|ui)\/(?!chart)/ },
          ],
        },
      },
    },
  },
  server: {
    proxy: {
      "/api": { target: platform },
      "/console": { target: platform },
      "/ws": { target: platform, ws: true },
    },
  },
  test: {
    environment: "happy-dom",
    setupFiles: ["src/testing/setup.ts"],
    css: false,
    restoreMocks: true,
    testTimeout: 60_000,
    maxWorkers: 2,
  },
}));
