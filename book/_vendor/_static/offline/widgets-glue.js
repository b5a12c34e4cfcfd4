/* Loaded between require.js and embed-amd.js on the pages that hold widgets. */
(function () {
  const base = document.currentScript.src.replace(/[^/]*$/, "");

  // The theme's Font Awesome turns every <i class="fa"> into an <svg>, also inside widgets; Play then throws at each
  // change and what is linked to it stops following. It has converted the page by now: leave what comes later alone.
  window.FontAwesomeConfig = Object.assign({ observeMutations: false }, window.FontAwesomeConfig);

  // Find html-manager's own files beside embed-amd.js, neither on a CDN nor relative to the page.
  window.requirejs.config({
    paths: {
      "@jupyter-widgets/html-manager/dist/libembed-amd": base + "html-manager/libembed-amd",
      "@jupyter-widgets/html-manager": base + "html-manager/index",
    },
  });

  // Labels of widgets are typeset through MathJax 2's API; the book loads MathJax 3, told to skip plain text.
  window.addEventListener("load", function () {
    const mathjax = window.MathJax;
    if (mathjax && mathjax.startup && !mathjax.Hub) {
      const typeset = function (command) {
        const label = command[2];
        label.classList.add("mathjax_process");
        mathjax.startup.promise.then(() => mathjax.typesetPromise([label]));
      };
      mathjax.Hub = { Queue: typeset };
    }
  });
})();
