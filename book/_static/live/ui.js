/* What the live pages share: elements, sliders, canvases that follow the theme and the width.
   Everything works by keyboard: what can be dragged on a canvas has a slider as well. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});

  /** An element with attributes and children, put into `parent`. */
  live.element = function (parent, tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    parent.append(made);
    return made;
  };

  /** The name of x_k, with a subscript that canvases and buttons can show. */
  live.x = (k) => `x${[..."₀₁₂₃₄₅₆₇₈₉"][k]}`;

  /** Replace the static picture in #id by what `start` builds, once the page is there. */
  live.mount = function (id, start) {
    const begin = () => {
      const root = document.getElementById(id);
      root.replaceChildren();
      start(root);
      root.dataset.ready = "yes";
      live.readyAt = performance.now(); // milliseconds since the page was asked for; for the tests
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
  };

  /** A labelled slider; `show` turns its number into the text beside it. */
  live.slider = function (parent, { label, min, max, step, value, show = String }, changed) {
    const box = live.element(parent, "label", { class: "live-slider" });
    live.element(box, "span", {}, label);
    const input = live.element(box, "input", { type: "range", min, max, step, value });
    const output = live.element(box, "output");
    const tell = () => {
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      tell();
      changed();
    });
    tell();
    return {
      input,
      get value() {
        return Number(input.value);
      },
      set value(number) {
        input.value = number;
        tell();
      },
    };
  };

  live.button = function (parent, text, pressed) {
    const made = live.element(parent, "button", { type: "button", class: "live-button" }, text);
    made.addEventListener("click", pressed);
    return made;
  };

  /** One of several words, as a row of radio buttons; changed(k) hears which. */
  live.choice = function (parent, legend, words, changed) {
    const box = live.element(parent, "fieldset", { class: "live-choice" });
    live.element(box, "legend", {}, legend);
    const inputs = words.map((word, k) => {
      const label = live.element(box, "label");
      const input = live.element(label, "input", { type: "radio", name: legend, value: k });
      label.append(` ${word}`);
      input.addEventListener("change", () => changed(k));
      return input;
    });
    inputs[0].checked = true;
    return {
      get value() {
        return inputs.findIndex((input) => input.checked);
      },
      set value(k) {
        inputs[k].checked = true;
      },
    };
  };

  /** Give each item of the list after #id a button that does what the item tells the reader to. */
  live.tries = function (id, deeds) {
    const items = document.querySelectorAll(`#${id} ~ ol > li, #${id} ol > li`);
    deeds.forEach((deed, k) => {
      const words = items[k].querySelector("strong")?.textContent ?? items[k].textContent;
      const button = live.button(items[k].querySelector("p") ?? items[k], "Show", deed);
      button.classList.add("live-try");
      button.setAttribute("aria-label", `Show: ${words.replace(/\\[()]/g, "")}`);
    });
  };

  /** A line of text that screen readers announce when it changes. */
  live.status = (parent) => live.element(parent, "p", { role: "status", class: "live-status" });

  const style = () => getComputedStyle(document.documentElement);
  const colour = (name) => style().getPropertyValue(`--ddgan-${name}`).trim();

  /** A canvas as wide as its place and `ratio` times as high, drawn by
      draw(context, width, height, colour) whenever the size or the theme changes. */
  live.canvas = function (parent, { label, ratio, draw }) {
    const canvas = live.element(parent, "canvas", { role: "img", "aria-label": label });
    const context = canvas.getContext("2d");
    const redraw = () => {
      const width = canvas.clientWidth;
      if (!width) return; // not laid out yet: the observer will call again
      const height = Math.round(width * (typeof ratio === "function" ? ratio(width) : ratio));
      const scale = globalThis.devicePixelRatio || 1;
      canvas.style.height = `${height}px`;
      [canvas.width, canvas.height] = [width * scale, height * scale];
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.font = `13px ${style().getPropertyValue("--pst-font-family-base") || "sans-serif"}`;
      draw(context, width, height, colour);
    };
    new ResizeObserver(redraw).observe(canvas.parentElement);
    new MutationObserver(redraw).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
    return { canvas, redraw, describe: (text) => canvas.setAttribute("aria-label", text) };
  };

  /** Call moved(x, y), both 0..1 from the top left, while a pointer is down on `canvas`.
      `touch` says which ways a finger may still move the page. */
  live.drag = function (canvas, moved, touch = "none") {
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (value, size) => Math.min(1, Math.max(0, value / size));
      moved(share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height));
    };
    canvas.style.touchAction = touch;
    canvas.style.cursor = "grab";
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      at(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && at(event));
  };

  /** Dots (flat array x, y, x, y, ..) of the plane inside +-reach, in the square at (left, top). */
  live.dots = function (context, points, { left, top, size, reach, radius, fill, alpha = 0.5 }) {
    context.save();
    context.beginPath();
    context.rect(left, top, size, size);
    context.clip();
    [context.fillStyle, context.globalAlpha] = [fill, alpha];
    for (let k = 0; k < points.length; k += 2) {
      const x = left + (size * (points[k] + reach)) / (2 * reach);
      const y = top + (size * (reach - points[k + 1])) / (2 * reach);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.restore();
  };
})();
