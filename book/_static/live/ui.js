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

  /** Say how the widget `name` is built into its element; loader.js calls it in time. */
  live.mount = (name, start) => (live.widgets[name] = start);

  /** Whether the reader asked their system for less motion. */
  live.calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  /** Keep these controls, by name, in the page's address, and set them as it says. */
  live.remember = function (root, controls) {
    const [id, ...said] = location.hash.slice(1).split("&");
    const given = id === root.id ? Object.fromEntries(said.map((pair) => pair.split("="))) : {};
    for (const [name, control] of Object.entries(controls)) {
      if (!(name in given)) continue;
      if (typeof control.value === "string") control.value = given[name]; // it knows what it can take
      else if (Number.isFinite(Number(given[name]))) control.value = Number(given[name]);
    }
    const shown = (value) => (typeof value === "string" ? value : +value.toFixed(3));
    const write = () => {
      const pairs = Object.entries(controls).map(([name, { value }]) => `&${name}=${shown(value)}`);
      history.replaceState(null, "", `#${root.id}${pairs.join("")}`);
    };
    for (const event of ["change", "click"]) root.addEventListener(event, () => setTimeout(write));
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

  /** A picture that moves: show(share) from 0 to 1 in `seconds`, a frame at a time; a new call
      stops the last, and where less motion is asked for there is only its end. */
  live.motion = function () {
    let frame = 0;
    return {
      stop: () => cancelAnimationFrame(frame),
      play(seconds, show) {
        this.stop();
        if (live.calm()) return show(1);
        const begin = performance.now();
        const next = (now) => {
          const share = Math.min(1, Math.max(0, (now - begin) / (1000 * seconds)));
          show(share);
          if (share < 1) frame = requestAnimationFrame(next);
        };
        show(0);
        frame = requestAnimationFrame(next);
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
    if (!items.length) return; // in a chapter the list stays on the widget's own page
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
      if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale))
        [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
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

  /** Call moved(x, y), both 0..1 from the top left, while a pointer drags on `canvas`, and where
      it is pressed. `handle` gives the place that a finger can take hold of; from anywhere else a
      finger scrolls the page, as it does up and down where there is no handle. */
  live.drag = function (canvas, moved, handle = null) {
    const place = ({ clientX, clientY }) => {
      const box = canvas.getBoundingClientRect();
      const share = (value, size) => Math.min(1, Math.max(0, value / size));
      return [share(clientX - box.left, box.width), share(clientY - box.top, box.height)];
    };
    const held = (event) => {
      const [[x, y], [u, v]] = [place(event), handle()];
      return Math.hypot((x - u) * canvas.clientWidth, (y - v) * canvas.clientHeight) < 36;
    };
    let dragging = false;
    canvas.style.touchAction = "pan-y";
    canvas.style.cursor = "grab";
    if (handle)
      canvas.addEventListener("touchstart", (event) => {
        if (held(event.touches[0])) event.preventDefault(); // this finger drags, and does not scroll
      }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      dragging = !handle || event.pointerType !== "touch" || held(event);
      if (!dragging) return;
      canvas.setPointerCapture(event.pointerId);
      moved(...place(event));
    });
    canvas.addEventListener("pointermove", (event) => dragging && event.buttons && moved(...place(event)));
    canvas.addEventListener("click", (event) => moved(...place(event))); // a tap
  };

  /** Dots (flat array x, y, x, y, ..) of the plane inside +-reach, in the square at (left, top);
      the small ones are squares, which a canvas draws ten times as fast. */
  live.dots = function (context, points, { left, top, size, reach, radius, fill, alpha = 0.5 }) {
    context.save();
    context.beginPath();
    context.rect(left, top, size, size);
    context.clip();
    [context.fillStyle, context.globalAlpha] = [fill, alpha];
    for (let k = 0; k < points.length; k += 2) {
      const x = left + (size * (points[k] + reach)) / (2 * reach);
      const y = top + (size * (reach - points[k + 1])) / (2 * reach);
      if (radius < 3) context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      else {
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.restore();
  };
})();
