import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "./styles/mantine.css";
import "./styles/tokens.css";
import { JobFeed, refreshOnGap } from "./api/live";
import { live } from "./api/socket";
import { createClient, Providers } from "./app/providers";
import { createAppRouter } from "./app/router";

async function start(): Promise<void> {
  if (import.meta.env.MODE === "mock") (await import("./testing/mock")).installMock();
  const client = createClient(() => {
    live.stop();
    if (location.pathname !== "/login")
      void router.navigate({ to: "/login", search: { next: location.pathname } });
  });
  const router = createAppRouter(client);
  const feed = new JobFeed(client);
  refreshOnGap(live, client, feed);
  createRoot(document.getElementById("root")!).render(
    <StrictMode>
      <Providers client={client} feed={feed}>
        <RouterProvider router={router} />
      </Providers>
    </StrictMode>,
  );
}

void start();
