/** What happy-dom lacks and every test needs. */

import { cleanup } from "@testing-library/react";
import { afterEach, vi } from "vitest";

class NoObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}

vi.stubGlobal("ResizeObserver", NoObserver);
window.scrollTo = () => {};
Element.prototype.scrollIntoView = () => {};

afterEach(() => {
  cleanup();
  document.body.innerHTML = "";
});
