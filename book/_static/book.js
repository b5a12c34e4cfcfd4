/* Loaded on every page: what the theme leaves out for readers who listen to a page. */
window.addEventListener("load", function () {
  // The button shows "Search Ctrl+K", and collapsed code "Code", so their names must hold that: let the text be the name.
  for (const button of document.querySelectorAll(".search-button-field, details.hide > summary")) {
    button.removeAttribute("aria-label");
  }
  // The button is named "Color mode"; its three icons, of which one is visible, bring names of their own: as <i>, and again
  // when Font Awesome makes an <svg> of each, at a time of its choosing.
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    const hush = function () {
      button.querySelectorAll("svg title").forEach((title) => title.remove());
      for (const icon of button.querySelectorAll("svg[aria-labelledby]")) {
        icon.removeAttribute("aria-labelledby");
        icon.setAttribute("aria-hidden", "true");
      }
    };
    hush();
    new MutationObserver(hush).observe(button, { childList: true, subtree: true });
  }
  // The entries of the bibliography: role="list" wants items, and "doc-biblioentry" is deprecated.
  for (const entry of document.querySelectorAll('.citation-list [role="doc-biblioentry"]')) {
    entry.setAttribute("role", "listitem");
  }
  // A wide formula scrolls in its box; so that keys can move it, it takes the focus.
  window.MathJax?.startup?.promise.then(function () {
    for (const formula of document.querySelectorAll('mjx-container[display="true"]')) formula.tabIndex = 0;
  });
});
