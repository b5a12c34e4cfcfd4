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

  // What screen readers need and html-manager leaves out. Each function dresses one new element.
  function picture(image) {
    image.alt = image.title;
    image.removeAttribute("title");
  }

  // A handle is named by its label, and says the value that is shown ("w = 4"), not its index ("5").
  function slider(element) {
    const handle = element.querySelector(".noUi-handle");
    const label = element.querySelector(".widget-label");
    const readout = element.querySelector(".widget-readout");
    handle.setAttribute("aria-label", label.title);
    const say = function () {
      if (handle.getAttribute("aria-valuetext") !== readout.textContent) {
        handle.setAttribute("aria-valuetext", readout.textContent);
      }
    };
    say();
    new MutationObserver(say).observe(handle, { attributeFilter: ["aria-valuetext"] });
    new MutationObserver(say).observe(readout, { childList: true });
    readout.setAttribute("aria-hidden", "true"); // the handle says it
    readout.removeAttribute("contenteditable");
  }

  function play(element) {
    const names = ["Play or pause", "Stop", "Repeat"];
    element.querySelectorAll("button").forEach(function (button, i) {
      button.setAttribute("aria-label", names[i]);
      button.title = names[i];
    });
  }

  const dressings = {
    "img.widget-image[title]": picture,
    ".dash-explorer .widget-hslider:not([data-dressed])": slider,
    ".dash-explorer .widget-play:not([data-dressed])": play,
  };

  new MutationObserver(function () {
    for (const [selector, dress] of Object.entries(dressings)) {
      for (const element of document.querySelectorAll(selector)) {
        element.dataset.dressed = "";
        dress(element);
      }
    }
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
