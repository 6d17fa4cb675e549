/* On every page, and nothing to do on most: an element `<div class="live" id="live-NAME">` is given
   the scripts of its widget when it comes near the window, and then the widget itself. One with
   data-ask has a heavy model: until its button, with these words, is pressed, it is a picture. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});
  const NEAR = 400; // pixels below the window
  const PLANE = ["mixture", "ddgan", "ui", "points"];
  const SCRIPTS = {
    denoising: ["mixture", "ui", "denoising"],
    levels: ["mixture", "ui", "chain", "levels-found", "levels"],
    plane: [...PLANE, "gaussians", "plane"],
    step: [...PLANE, "gaussians", "step"],
    training: [...PLANE, "trainer", "training-recipe", "training"],
    images: ["ddgan", "ui", "images-model", "images"],
    digits: ["ddgan", "ui", "digits-model", "images"],
    mnist: ["ddgan", "ui", "mnist-model", "images"],
    strokes: ["ddgan", "ui", "digits-model", "images", "drawings", "strokes"],
  };
  const folder = new URL(".", document.currentScript.src);
  const loaded = new Map();
  live.widgets = {}; // by name, each a function of the element

  const load = (live.load = (name) => {
    if (!loaded.has(name))
      loaded.set(name, new Promise((done, failed) => {
        const script = document.createElement("script");
        Object.assign(script, { src: new URL(`${name}.js`, folder), async: false, onload: done, onerror: failed });
        document.head.append(script); // async: false keeps their order
      }));
    return loaded.get(name);
  });

  /** When the reader wants the widget: at once, because the address holds its state, or after a
      press of its button; then true. */
  const wanted = (root) =>
    new Promise((done) => {
      if (!root.dataset.ask || location.hash.startsWith(`#${root.id}&`)) return done(false);
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "live-button", textContent: root.dataset.ask });
      button.addEventListener("click", () => {
        Object.assign(button, { textContent: "Loading", disabled: true });
        done(true);
      });
      root.querySelector("p").replaceWith(button); // the text for readers without JavaScript
    });

  async function start(root) {
    const name = root.id.slice("live-".length);
    const pressed = await wanted(root);
    await Promise.all(SCRIPTS[name].map(load));
    root.replaceChildren();
    live.widgets[name](root);
    if (pressed) root.querySelector("button").focus(); // the pressed one is gone
    root.dataset.ready = "yes";
    live.readyAt = performance.now(); // milliseconds since the page was asked for; for the tests
  }

  /** Formulas are set when the widgets in view work, because MathJax keeps a telephone busy for
      seconds. On a page with both the loading of it is left to us (book/_ext/lighter_pages.py). */
  const setFormulas = () => {
    const settings = globalThis.MathJax;
    if (settings && !document.querySelector("script[src*=mathjax]")) return load("../vendor/mathjax/tex-mml-chtml");
  };

  const begin = () => {
    const roots = [...document.querySelectorAll(".live[id^=live-]")];
    const near = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        start(target);
      }
    }, { rootMargin: `${NEAR}px` });
    const inView = roots.filter(
      (root) => !root.dataset.ask && root.getBoundingClientRect().top < innerHeight + NEAR
    );
    roots.filter((root) => !inView.includes(root)).forEach((root) => near.observe(root));
    live.formulas = Promise.allSettled(inView.map(start)).then(setFormulas);
    // An address with a widget's state leads to the widget: #live-plane&seed=3
    const [asked] = location.hash.slice(1).split("&");
    if (location.hash.includes("&")) roots.find(({ id }) => id === asked)?.scrollIntoView();
  };
  // When the page has been read, and not behind the scripts that are put off until then.
  if (document.readyState === "loading") document.addEventListener("readystatechange", begin, { once: true });
  else begin();
})();
