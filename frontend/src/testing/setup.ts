/** What happy-dom lacks and every test needs. */

import { cleanup, configure } from "@testing-library/react";
import { afterEach, vi } from "vitest";

class NoObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}

// A busy machine draws slowly; a page that never shows fails all the same.
configure({ asyncUtilTimeout: 8000 });

const noMedia = { matches: false, addEventListener() {}, removeEventListener() {} };

window.matchMedia = (media) => ({ ...noMedia, media }) as unknown as MediaQueryList;
vi.stubGlobal("ResizeObserver", NoObserver);
Object.defineProperty(document, "fonts", { value: noMedia });
window.scrollTo = () => {};
Element.prototype.scrollIntoView = () => {};

afterEach(() => {
  cleanup();
  document.body.innerHTML = "";
});
