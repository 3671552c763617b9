// The console runs Alpine's build for strict content policies: it reads expressions in attributes itself, instead of having the
// browser evaluate them, and knows no global names and no statements. What the theme's expressions need of either is here.

document.addEventListener("alpine:init", () => {
  const names = {
    localStorage: {
      getItem: (key) => localStorage.getItem(key),
      setItem: (key, value) => localStorage.setItem(key, value),
    },
    window: { location: { pathname: window.location.pathname, search: window.location.search } },
    getCurrentTab: () => getCurrentTab(),
    keepSidebar(open) {
      localStorage.setItem("sidebarDesktopOpen", open ? "1" : "0");
      return open;
    },
  };
  Alpine.data("theme", (given) => ({ ...theme(given), ...names }));
  Alpine.data("searchForm", () => searchForm());
  Alpine.data("searchDropdown", () => searchDropdown());
  Alpine.data("searchCommand", () => searchCommand());

  const hasTabs = document.body.getAttribute("x-data")?.includes("activeTab");
  document.body.setAttribute("x-init", hasTabs ? "activeTab = getCurrentTab() || activeTab" : "true");
  for (const element of document.querySelectorAll("[x-on\\:click^='sidebarDesktopOpen =']")) {
    element.setAttribute("x-on:click", "sidebarDesktopOpen = keepSidebar(!sidebarDesktopOpen)");
  }
  for (const element of document.querySelectorAll("[x-on\\:keydown\\.enter\\.prevent^='if (']")) {
    const [, condition, action] = element.getAttribute("x-on:keydown.enter.prevent").match(/^if \((.*?)\) (.*)$/);
    element.setAttribute("x-on:keydown.enter.prevent", `${condition} && ${action}`);
  }
});
