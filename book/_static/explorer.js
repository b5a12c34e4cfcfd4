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
    for (const button of bar.querySelectorAll(".dash-play")) play(button, dials[0], show);
    bar.hidden = false;
    show();
  }

  /** Ask for all pictures, so that each is there when it is wanted. */
  function load(frames) {
    for (const [src] of frames) new Image().src = src;
  }

  /** How many positions an input has, and its position. */
  function dial(input) {
    if (input.tagName === "FIELDSET") return radios([...input.querySelectorAll("input")]);
    if (input.tagName === "SELECT") {
      const set = (index) => { input.selectedIndex = index; };
      return { count: input.length, get: () => input.selectedIndex, set };
    }
    const shown = JSON.parse(input.dataset.shown);
    const say = function () {
      input.nextElementSibling.textContent = shown[input.value];
      input.setAttribute("aria-valuetext", shown[input.value]);
    };
    input.addEventListener("input", say);
    say();
    const set = function (index) {
      input.value = index;
      say();
    };
    return { count: shown.length, get: () => Number(input.value), set };
  }

  function radios(buttons) {
    const set = (index) => { buttons[index].checked = true; };
    return { count: buttons.length, get: () => buttons.findIndex((b) => b.checked), set };
  }

  /** A button that runs through the positions of an input, from the start if it is at the end. */
  function play(button, { count, get, set }, show) {
    let timer = null;
    function stop() {
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
    }
    function step() {
      set(get() + 1);
      show();
      if (get() === count - 1) stop();
    }
    button.addEventListener("click", function () {
      if (timer) return stop();
      if (get() === count - 1) set(0);
      show();
      button.textContent = "pause";
      timer = setInterval(step, 300);
    });
  }

  addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll(".dash-explorer").forEach(prepare);
  });
})();
