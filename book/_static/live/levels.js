/* Live page: N Gaussian steps that follow q(x_{t-1} | x_t), their noise levels in the reader's
   hand. The sums are in chain.js. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const REACH = 3;
  const LARGEST = 250; // of the axis; it starts at 0.4 std of the data
  const APART = 1.02; // the least ratio of neighbours
  const FOR_QUALITY = [0.00107, 0.0027, 0.0135, 0.501]; // a search for HQ3 alone, three scales
  const WORDS = ["one scale", "two scales", "three scales"];
  const DATA = [
    live.lineData(0.05, [1]), live.lineData(0.005, [1, 0.1]), live.lineData(0.0005, [1, 0.1, 0.01]),
  ];

  live.mount("levels", (root) => {
    let [scales, levels, spacing, state] = [0, [], "paper", null];
    let [asked, searching] = [0, null]; // a frame; the state of a search
    const smallest = () => 0.4 * DATA[scales].std;
    const view = live.canvas(root, {
      label: "",
      ratio: (width) => (width < 500 ? 396 / width : 0.3 + 190 / width),
      draw: (...place) => draw(state, ...place),
    });
    const status = live.status(root);
    const rail = live.element(root, "div", { class: "live-rail" });
    const controls = live.element(root, "div", { class: "live-controls" });
    const count = live.slider(controls, {
      label: "Gaussian steps",
      min: 1, max: 8, step: 1, value: 4,
      show: (n) => `N = ${n}`,
    }, () => choose(spacing ?? "even"));
    const kinds = live.choice(controls, "Data on the line", WORDS, (k) => {
      scales = k;
      choose(spacing ?? "even");
    });
    const presets = live.element(root, "div", { class: "live-buttons" });
    live.button(presets, "Paper's levels", () => choose("paper"));
    live.button(presets, "Even in log", () => choose("even"));
    const best = live.button(presets, "Best found", () => choose("best"));
    live.button(presets, "Search from here", searchOn);

    const found = () =>
      (globalThis.ddganLevels ?? []).find((row) => row.scales === scales + 1 && row.levels.length === count.value);

    function choose(wanted) {
      const n = count.value;
      [searching, spacing] = [null, wanted === "best" && !found() ? "even" : wanted];
      if (spacing === "paper") levels = live.paperLevels(n);
      if (spacing === "even") levels = live.evenLevels(n, n > 1 ? DATA[scales].std : 5, 5);
      if (Array.isArray(wanted)) [levels, spacing] = [[...wanted], null];
      if (spacing === "best") levels = [...found().levels];
      best.hidden = !found();
      build();
      update();
    }

    // -- the axis and its handles ---------------------------------------------------------------

    const share = (level) => Math.log(level / smallest()) / Math.log(LARGEST / smallest());
    const level = (part) => smallest() * (LARGEST / smallest()) ** part;
    const tell = (value) => String(Number(value.toPrecision(value < 1 ? 2 : 3)));
    let handles = [];

    function build() {
      rail.replaceChildren();
      for (let power = -3; power <= 2; power++)
        if (share(10 ** power) >= 0)
          live.element(rail, "span", { class: "live-tick", style: `left: ${100 * share(10 ** power)}%` },
            String(10 ** power));
      handles = levels.map((_, k) => {
        const handle = live.element(rail, "div", {
          class: "live-handle", role: "slider", tabindex: "0",
          "aria-label": `Noise level of x${k + 1}`, "aria-orientation": "horizontal",
        }, live.x(k + 1));
        handle.addEventListener("pointerdown", (event) => {
          handle.setPointerCapture(event.pointerId);
          handle.focus();
          event.preventDefault(); // no selection of text
        });
        handle.addEventListener("pointermove", (event) => {
          if (!handle.hasPointerCapture(event.pointerId)) return;
          const box = rail.getBoundingClientRect();
          move(k, (event.clientX - box.left) / box.width);
        });
        handle.addEventListener("keydown", (event) => {
          const [at, step] = [share(levels[k]), event.shiftKey ? 0.001 : 0.005];
          const to = {
            ArrowLeft: at - step, ArrowDown: at - step, ArrowRight: at + step, ArrowUp: at + step,
            PageDown: at - 0.05, PageUp: at + 0.05, Home: 0, End: 1,
          }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          move(k, to);
        });
        return handle;
      });
    }

    /** A handle goes where it is pulled, as far as its neighbours let it. */
    function move(k, part) {
      searching = null;
      const low = k ? levels[k - 1] * APART : smallest();
      const high = k < levels.length - 1 ? levels[k + 1] / APART : LARGEST;
      levels[k] = Math.min(Math.max(level(part), low), high);
      spacing = null;
      update();
    }

    // -- the state ------------------------------------------------------------------------------

    function update() {
      handles.forEach((handle, k) => {
        handle.style.left = `${100 * share(levels[k])}%`;
        const [low, high] = [levels[k - 1] ?? smallest(), levels[k + 1] ?? LARGEST];
        handle.setAttribute("aria-valuemin", tell(Math.min(low, levels[k])));
        handle.setAttribute("aria-valuemax", tell(Math.max(high, levels[k])));
        handle.setAttribute("aria-valuenow", tell(levels[k]));
        handle.setAttribute("aria-valuetext", `sigma ${tell(levels[k])}`);
      });
      asked ||= requestAnimationFrame(compute); // one computation to a frame, however fast the hand
    }

    function compute() {
      asked = 0;
      const began = performance.now();
      const data = DATA[scales];
      state = { data, scales, levels: [...levels], ...live.followed(data, levels) };
      Object.assign(state, live.stepDivergences(data, levels));
      state.sum = state.steps.reduce((a, b) => a + b, state.start);
      state.milliseconds = performance.now() - began;
      live.levelsNow = state; // for the tests
      const chain = `${levels.length} ${levels.length === 1 ? "step" : "steps"}`;
      const numbers =
        `HQ3 ${(100 * state.hq3).toFixed(1)} %, KL of the mode weights ${state.klModes.toFixed(3)}, ` +
        `KL of the density ${state.klData.toFixed(3)} nats`;
      status.textContent =
        `${chain}: ${numbers} (at most ${state.sum.toFixed(3)}, the sum over the steps). ` +
        `Levels: ${levels.map(tell).join(", ")}.`;
      view.describe(
        `Density of the samples after ${chain} against the data on ${WORDS[scales]}: ${numbers}. ` +
          `Divergence of each step, from noise to data: ` +
          `${[...state.steps].reverse().map((kl) => kl.toFixed(2)).join(", ")} nats.`
      );
      view.redraw();
    }

    // -- the search: one level at a time, up or down, by ever smaller ratios --------------------

    const still = matchMedia("(prefers-reduced-motion: reduce)"); // then only the end is shown
    const loss = (candidate) => live.followed(DATA[scales], candidate).klData;

    function searchOn() {
      status.setAttribute("aria-busy", "true"); // announced once, at the end
      searching = { ratio: Math.E ** 0.5, k: 0, moved: false, loss: loss(levels) };
      spacing = null;
      requestAnimationFrame(searchStep);
    }

    function searchStep() {
      const began = performance.now();
      while (searching && performance.now() - began < 12) {
        const { ratio, k } = searching;
        for (const factor of [ratio, 1 / ratio]) {
          const next = levels.map((old, i) => (i === k ? old * factor : old));
          const ends = next[0] >= smallest() && next.at(-1) <= LARGEST;
          if (!ends || next.some((value, i) => i && value < next[i - 1] * APART)) continue;
          const reached = loss(next);
          if (reached >= searching.loss - 1e-7) continue;
          [searching.loss, searching.moved, levels] = [reached, true, next];
          break;
        }
        searching.k = (k + 1) % levels.length;
        if (searching.k) continue;
        if (!searching.moved) searching.ratio = Math.sqrt(ratio);
        searching.moved = false;
        if (searching.ratio < 1.01) searching = null;
      }
      live.levelsSearching = Boolean(searching); // for the tests
      if (!searching || !still.matches) update();
      if (searching) requestAnimationFrame(searchStep);
      else status.removeAttribute("aria-busy");
    }

    // -- what to try ----------------------------------------------------------------------------

    const set = (k, n, wanted) => () => {
      scales = kinds.value = k;
      count.value = n;
      choose(wanted);
      view.canvas.scrollIntoView({ block: "nearest" });
    };
    live.tries("try-levels", [
      set(0, 4, "paper"), set(0, 4, "even"), () => (set(0, 4, "even")(), searchOn()),
      () => (set(1, 4, "even")(), searchOn()), () => (set(2, 4, "even")(), searchOn()), 
      set(2, 4, FOR_QUALITY), set(1, 8, "even"),
    ]);
    choose("paper");
  });

  // -- the picture --------------------------------------------------------------------------------

  /** Mean density on each column of `width` pixels from -reach to reach. */
  function columns({ start, step }, mass, width, reach) {
    const heights = new Float64Array(width);
    const first = Math.max(0, Math.ceil((-reach - start) / step));
    const last = Math.min(mass.length - 1, Math.floor((reach - start) / step));
    const scale = width / (2 * reach);
    for (let k = first; k <= last; k++) {
      // A node stands for the cell around it, which may reach over several columns.
      const from = Math.max(0, (start + (k - 0.5) * step + reach) * scale);
      const to = Math.min(width, (start + (k + 0.5) * step + reach) * scale);
      for (let column = Math.floor(from); column < to; column++) {
        const part = Math.min(to, column + 1) - Math.max(from, column);
        heights[column] += (mass[k] * part) / (step * scale);
      }
    }
    return heights.map((held) => held * scale);
  }

  function draw(state, context, width, height, colour) {
    if (!state) return;
    context.clearRect(0, 0, width, height);
    const narrow = width < 500;
    const zoom = state.scales > 0;
    const top = { y: 40, high: narrow ? 130 : height - 230 };
    const inset = zoom ? [0, width * 0.5 - 8, width * 0.5 + 8, width * 0.5 - 8] : [0, width, 0, 0];
    density(inset[0], inset[1], REACH, "density of x₀");
    if (zoom) density(inset[2], inset[3], 0.26, "its middle group");
    legend();
    const below = top.y + top.high + 52;
    const left = narrow ? width : 0.56 * width;
    bars(0, below, left, narrow ? 52 : 110);
    if (narrow) steps(0, below + 84, width, 66);
    else steps(0.62 * width, below, 0.38 * width, 110);

    function legend() {
      let end = width;
      context.textAlign = "right";
      for (const [name, text] of [["model", "after the steps"], ["data", "data"]]) {
        context.fillStyle = colour(name);
        context.fillText(text, end, 12);
        end -= context.measureText(text).width + 16;
      }
    }

    function density(x, room, reach, title) {
      const bins = Math.max(60, Math.floor(room / (reach < 1 || state.scales ? 1.5 : 2)));
      const [model, data] = [state.grid.mass, state.truth].map((mass) =>
        columns(state.grid, mass, bins, reach)
      );
      const most = 1.05 * Math.max(...data, ...model);
      const base = top.y + top.high;
      const path = (heights) => {
        context.beginPath();
        context.moveTo(x, base);
        heights.forEach((value, k) =>
          context.lineTo(x + ((k + 0.5) * room) / bins, base - (top.high * value) / most)
        );
        context.lineTo(x + room, base);
      };
      path(data);
      [context.fillStyle, context.globalAlpha] = [colour("data"), 0.45];
      context.fill();
      context.globalAlpha = 1;
      path(model);
      [context.strokeStyle, context.lineWidth] = [colour("model"), 1.5];
      context.stroke();
      ground(x, base, room);
      context.textAlign = "center";
      const ticks = reach > 1 ? [-2, -1, 0, 1, 2] : [-0.2, -0.1, 0, 0.1, 0.2];
      for (const tick of ticks)
        context.fillText(String(tick), x + (room * (tick + reach)) / (2 * reach), base + 16);
      context.textAlign = "left";
      context.fillText(title, x, zoom ? 30 : 12);
    }

    function ground(x, base, room) {
      [context.strokeStyle, context.fillStyle, context.lineWidth] = [colour("quiet"), colour("ink"), 1];
      context.beginPath();
      context.moveTo(x, base);
      context.lineTo(x + room, base);
      context.stroke();
    }

    /** The share of every mode, in units of the share it should have. */
    function bars(x, y, room, high) {
      const { shares } = state;
      const most = Math.max(1.6, ...shares.map((share) => share * shares.length));
      const wide = room / shares.length;
      context.fillStyle = colour("model");
      shares.forEach((share, k) => {
        const tall = (high * share * shares.length) / most;
        context.fillRect(x + k * wide + 0.1 * wide, y + high - tall, 0.8 * wide, tall);
      });
      const fair = y + high - high / most;
      [context.strokeStyle, context.lineWidth] = [colour("data"), 2];
      context.setLineDash([6, 4]);
      context.beginPath();
      context.moveTo(x, fair);
      context.lineTo(x + room, fair);
      context.stroke();
      context.setLineDash([]);
      ground(x, y + high, room);
      context.textAlign = "left";
      context.fillText(`weights of the ${shares.length} modes (dashed: equal)`, x, y - 8);
    }

    /** KL of every step, in the order in which they are taken. */
    function steps(x, y, room, high) {
      const found = [...state.steps].reverse();
      const most = Math.max(0.5, ...found);
      const wide = room / found.length;
      ground(x, y + high, room);
      found.forEach((kl, k) => {
        context.fillStyle = colour("third");
        const tall = ((high - 14) * kl) / most;
        context.fillRect(x + (k + 0.2) * wide, y + high - tall, 0.6 * wide, tall);
        context.fillStyle = colour("ink");
        context.textAlign = "center";
        context.fillText(kl.toFixed(2), x + (k + 0.5) * wide, y + high - tall - 4);
        context.fillText(`to ${live.x(found.length - 1 - k)}`, x + (k + 0.5) * wide, y + high + 16);
      });
      context.textAlign = "left";
      context.fillText("KL of each step (nats)", x, y - 8);
    }
  }
})();
