/* Loaded on every page: the inputs of an explorer choose which of its pictures is shown. */
(function () {
  /** The index of each picture counts the inputs like digits of a number, the last one fastest. */
  function prepare(explorer) {
    const image = explorer.querySelector("img");
    const frames = JSON.parse(explorer.querySelector("script").textContent);
    const bar = explorer.querySelector(".dash-controls");
    const dials = [...bar.querySelectorAll("input[type=range], select, fieldset")].map(dial);

    function show() {
      const index = dials.reduce((sum, { count, get }) => sum * count + get(), 0);
      [image.src, image.alt] = frames[index];
    }
    bar.addEventListener("input", show);
    for (const event of ["pointerdown", "focusin"]) {
      bar.addEventListener(event, () => load(frames), { once: true });
    }
    bar.hidden = false;
    show();
  }

  /** Ask for all pictures, so that each is there when it is wanted. */
  function load(frames) {
    for (const [src] of frames) new Image().src = src;
  }

  /** How many positions an input has, and its position. */
  function dial(input) {
    if (input.tagName === "FIELDSET") {
      const buttons = [...input.querySelectorAll("input")];
      return { count: buttons.length, get: () => buttons.findIndex((b) => b.checked) };
    }
    if (input.tagName === "SELECT") {
      return { count: input.length, get: () => input.selectedIndex };
    }
    const shown = JSON.parse(input.dataset.shown);
    const say = function () {
      input.nextElementSibling.textContent = shown[input.value];
      input.setAttribute("aria-valuetext", shown[input.value]);
    };
    input.addEventListener("input", say);
    say();
    return { count: shown.length, get: () => Number(input.value) };
  }

  addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll(".dash-explorer").forEach(prepare);
  });
})();
