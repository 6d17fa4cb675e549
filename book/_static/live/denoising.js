/* Live page: the exact denoising distribution in one dimension. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const STEPS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 50, 100, 200, 500, 1000]; // of the chain
  const REACH = 3.2; // of both axes
  const DATA = {
    weights: Array(5).fill(0.2),
    means: [[-2], [-1], [0], [1], [2]],
    std: 0.05,
  };

  /** Everything the page shows, from the three sliders: time is t / T. */
  live.denoisingState = function (steps, time, x) {
    const alphaBar = live.alphaBar(time);
    const alphaBarPrev = live.alphaBar(Math.max(0, time - 1 / steps));
    const step = live.denoising(DATA, [x], alphaBarPrev, alphaBar);
    const [mean, std] = [live.mean(step)[0], Math.sqrt(live.covariance(step)[0][0])];
    const grid = Array.from({ length: 1201 }, (_, k) => mean + std * (k / 100 - 6));
    const density = grid.map((point) => Math.exp(live.logDensity(step, [point])));
    const floor = 1e-3 * Math.max(...density); // a bump that nobody can see is no bump
    const bumps = density.filter(
      (value, k) => value > floor && value > (density[k - 1] ?? 0) && value >= (density[k + 1] ?? 0)
    );
    return {
      alphaBar, alphaBarPrev, x, mean, std, step,
      beta: 1 - alphaBar / alphaBarPrev,
      kl: live.klToGaussian(step),
      bumps: bumps.length,
    };
  };

  const gaussian = (x, mean, std) =>
    Math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));

  live.mount("denoising", (root) => {
    let state;
    const view = live.canvas(root, {
      label: "",
      ratio: (width) => (width < 500 ? 0.95 : 0.62),
      draw: (...place) => draw(state, ...place),
    });
    live.drag(view.canvas, (x) => {
      where.value = (2 * x - 1) * REACH;
      update();
    });
    const status = live.status(root);
    const controls = live.element(root, "div", { class: "live-controls" });
    const steps = live.slider(controls, {
      label: "Steps in the chain",
      min: 0, max: STEPS.length - 1, step: 1, value: STEPS.indexOf(4),
      show: (k) => `T = ${STEPS[k]}`,
    }, update);
    const time = live.slider(controls, {
      label: "How far xₜ is from the data",
      min: 0.02, max: 1, step: 0.01, value: 0.3,
      show: (share) => `t/T = ${share.toFixed(2)}`,
    }, update);
    const where = live.slider(controls, {
      label: "Where xₜ is",
      min: -REACH, max: REACH, step: 0.01, value: 0.3,
      show: (x) => `xₜ = ${x.toFixed(2)}`,
    }, update);

    function update() {
      const time_ = Math.max(time.value, 1 / STEPS[steps.value]); // the first step starts there
      state = live.denoisingState(STEPS[steps.value], time_, where.value);
      live.denoisingNow = state; // for the tests
      const bumps = state.bumps === 1 ? "one bump" : `${state.bumps} bumps`;
      status.textContent =
        `Step size β = ${state.beta.toPrecision(2)}. The true distribution has ${bumps}; ` +
        `KL to the best Gaussian: ${state.kl.toFixed(3)} nats.`;
      view.describe(
        `Above, the density of xₜ with xₜ at ${where.value.toFixed(2)}. Below, the exact ` +
          `distribution of xₜ₋₁ with ${bumps}, and the best Gaussian with mean ` +
          `${state.mean.toFixed(2)} and standard deviation ${state.std.toFixed(2)}.`
      );
      view.redraw();
    }
    const set = (count, share, x) => () => {
      steps.value = STEPS.indexOf(count);
      time.value = share;
      where.value = x;
      update();
      view.canvas.scrollIntoView({ block: "nearest" });
    };
    live.tries("try-denoising", [
      set(4, 0.3, 0.3), set(200, 0.3, 0.3), set(8, 0.3, 0.3), set(4, 1, 0.3), set(4, 0.25, 0.3),
      set(1, 1, 0.3),
    ]);
    live.remember(root, { T: steps, t: time, x: where });
    update();
  });

  function draw(state, context, width, height, colour) {
    if (!state) return;
    const pixel = (x) => (width * (x + REACH)) / (2 * REACH);
    const columns = Array.from({ length: Math.ceil(width * 2) + 1 }, (_, k) => k / 2);
    const value = (column) => (2 * REACH * column) / width - REACH;
    /** One curve over the columns, `room` pixels high, standing on y = base. */
    const curve = (heights, top, base, room) => {
      context.beginPath();
      columns.forEach((column, k) => context.lineTo(column, base - (room * heights[k]) / top));
    };
    const axis = (base, text) => {
      [context.strokeStyle, context.fillStyle, context.lineWidth] = [colour("quiet"), colour("ink"), 1];
      context.beginPath();
      context.moveTo(0, base);
      context.lineTo(width, base);
      context.stroke();
      context.textAlign = "center";
      for (let tick = -3; tick <= 3; tick++) context.fillText(String(tick), pixel(tick), base + 16);
      context.textAlign = "left";
      context.fillText(text, 4, 0);
    };
    context.clearRect(0, 0, width, height);

    // Above: the marginal, and x_t in it.
    const split = 0.38 * height;
    const marginal = live.noised(DATA, state.alphaBar);
    const heights = columns.map((column) => Math.exp(live.logDensity(marginal, [value(column)])));
    context.save();
    context.translate(0, 16);
    axis(split - 36, "density of xₜ");
    curve(heights, Math.max(...heights), split - 36, split - 60);
    [context.strokeStyle, context.lineWidth] = [colour("quiet"), 2];
    context.stroke();
    context.restore();
    context.beginPath();
    context.moveTo(pixel(state.x), 22);
    context.lineTo(pixel(state.x), split - 20);
    [context.strokeStyle, context.lineWidth] = [colour("third"), 2];
    context.stroke();
    context.beginPath();
    context.arc(pixel(state.x), split - 20, 8, 0, 2 * Math.PI);
    context.fillStyle = colour("third");
    context.fill();

    // Below: where x_t came from.
    context.save();
    context.translate(0, split + 24);
    const base = height - split - 46;
    axis(base, "density of xₜ₋₁, given xₜ");
    const exact = columns.map((column) => Math.exp(live.logDensity(state.step, [value(column)])));
    const best = columns.map((column) => gaussian(value(column), state.mean, state.std));
    const top = Math.max(...exact, ...best);
    curve(exact, top, base, base - 14);
    context.lineTo(width, base);
    context.lineTo(0, base);
    [context.fillStyle, context.globalAlpha] = [colour("data"), 0.3];
    context.fill();
    context.globalAlpha = 1;
    curve(exact, top, base, base - 14);
    [context.strokeStyle, context.lineWidth] = [colour("data"), 2];
    context.stroke();
    curve(best, top, base, base - 14);
    context.setLineDash([6, 4]);
    context.strokeStyle = colour("model");
    context.stroke();
    context.setLineDash([]);
    context.textAlign = "right";
    context.fillStyle = colour("data");
    context.fillText("exact", width - 4, 0);
    context.fillStyle = colour("model");
    context.fillText("best Gaussian", width - 4, 18);
    context.restore();
  }
})();
