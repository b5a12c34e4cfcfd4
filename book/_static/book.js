/* Loaded on every page: what the theme leaves out for readers who listen to a page. */
window.addEventListener("load", function () {
  // The button shows "Search Ctrl+K", so its name must hold that: let the text be the name.
  for (const button of document.querySelectorAll(".search-button-field")) {
    button.removeAttribute("aria-label");
  }
  // Icons are glyphs of a font; the buttons around them have names of their own.
  for (const icon of document.querySelectorAll("i[class*=fa-]")) icon.setAttribute("aria-hidden", "true");
  // The entries of the bibliography: role="list" wants items, and "doc-biblioentry" is deprecated.
  for (const entry of document.querySelectorAll('.citation-list [role="doc-biblioentry"]')) {
    entry.setAttribute("role", "listitem");
  }
  // KaTeX is on the pages that have formulas. A wide one scrolls in its box; so that keys can move it, it takes the focus.
  for (const formula of document.querySelectorAll(".math")) {
    window.renderMathInElement(formula, {
      delimiters: [
        { left: "\\[", right: "\\]", display: true },
        { left: "\\(", right: "\\)", display: false },
      ],
      throwOnError: false,
    });
  }
  for (const formula of document.querySelectorAll(".katex-display")) formula.tabIndex = 0;
});
