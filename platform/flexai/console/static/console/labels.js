// Fields that are searched while typing (select2) have the name of their label, which the widget does not pass on.

window.addEventListener("load", () => {
  for (const field of document.querySelectorAll("select.select2-hidden-accessible")) {
    const label = field.labels?.[0]?.textContent.trim() || field.getAttribute("aria-label") || field.name;
    const box = field.nextElementSibling?.querySelector("[role=combobox]");
    box?.setAttribute("aria-label", label);
  }
});
