// The theme leaves some fields without a name for who hears the page: those that are searched while typing (select2), which do not
// pass their label on, and those in tables, which stand below the head of their column.

const nameOf = (field) =>
  field.labels?.[0]?.textContent.trim() || field.getAttribute("aria-label") || columnOf(field.closest("td")) || field.name;

const columnOf = (cell) => cell?.closest("table")?.tHead?.rows[0]?.cells[cell.cellIndex]?.textContent.trim();

function nameFields(within) {
  for (const field of within.querySelectorAll("td :is(input:not([type=hidden]), select, textarea)")) {
    if (!field.labels?.length && !field.hasAttribute("aria-label")) field.setAttribute("aria-label", nameOf(field));
  }
  for (const field of within.querySelectorAll("select.select2-hidden-accessible")) {
    for (const part of field.parentElement.querySelectorAll(".select2-selection, .select2-selection__rendered")) {
      if (part.getAttribute("aria-label") !== nameOf(field)) part.setAttribute("aria-label", nameOf(field));
    }
  }
}

new MutationObserver((changes) => {
  if (changes.some((change) => change.addedNodes.length)) nameFields(document);
}).observe(document.documentElement, { childList: true, subtree: true });
