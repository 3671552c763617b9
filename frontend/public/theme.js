// Sets the theme before the first paint. A file of its own: the content security policy forbids inline scripts.
(() => {
  let choice = "auto";
  try {
    choice = localStorage.getItem("flexai-color-scheme") || "auto";
  } catch {
    // Storage can be forbidden; the system's theme is then the theme.
  }
  const dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
