/* Live page: the trained DDGAN of 25 Gaussians, beside the best four Gaussian steps there are. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const REACH = 3;
  const MODES = [-2, -1, 0, 1, 2].flatMap((x) => [-2, -1, 0, 1, 2].map((y) => [x, y]));
  const DATA = { weights: Array(25).fill(1 / 25), means: MODES, std: 0.05 };

  /** Share of samples (flat) within three standard deviations of a mode, and the modes that hold
      at least a fifth of their fair share. */
  live.planeScores = function (points) {
    const [counts, n] = [Array(25).fill(0), points.length / 2];
    for (let k = 0; k < points.length; k += 2) {
      const near = [points[k], points[k + 1]].map((v) => Math.max(-2, Math.min(2, Math.round(v))));
      const distance = Math.hypot(points[k] - near[0], points[k + 1] - near[1]);
      if (distance < 3 * DATA.std) counts[(near[0] + 2) * 5 + near[1] + 2]++;
    }
    return {
      hq3: counts.reduce((a, b) => a + b) / n,
      modes: counts.filter((count) => count >= (0.2 * n) / 25).length,
    };
  };

  /** [x_T, .., x_0] by the best Gaussian at every step: nothing trained, nothing to blame. */
  live.gaussianChain = function (alphaBar, start, normal) {
    const chain = [start];
    for (let t = alphaBar.length - 1; t > 0; t--) {
      const x = chain[chain.length - 1];
      const next = new Float32Array(x.length);
      for (let k = 0; k < x.length; k += 2) {
        const step = live.denoising(DATA, [x[k], x[k + 1]], alphaBar[t - 1], alphaBar[t]);
        next.set(live.bestGaussian(step, normal), k);
      }
      chain.push(next);
    }
    return chain;
  };

  function circles(context, { left, top, size }, colour, weights = null) {
    const scale = size / (2 * REACH);
    MODES.forEach(([x, y], k) => {
      context.beginPath();
      context.arc(left + (x + REACH) * scale, top + (REACH - y) * scale, 0.15 * scale, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth, context.globalAlpha] = [colour("quiet"), 1, 0.8];
      context.stroke();
      if (!weights || weights[k] < 0.002) return;
      [context.fillStyle, context.globalAlpha] = [colour("data"), 0.15 + 0.85 * weights[k]];
      context.fill();
    });
    context.globalAlpha = 1;
  }

  function frame(context, { left, top, size }, colour, title) {
    [context.strokeStyle, context.lineWidth, context.fillStyle] = [colour("quiet"), 1, colour("ink")];
    context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
    context.textAlign = "left";
    context.fillText(title, left + 2, top - 7);
  }

  // -- many samples -------------------------------------------------------------------------

  live.mount("live-plane", (root) => {
    const model = live.model("gaussians");
    const controls = live.element(root, "div", { class: "live-controls" });
    let [seed, chains] = [1, null];
    const draw = live.button(controls, "Draw 2,000 samples", () => {
      sample();
      play();
    });
    const step = live.slider(controls, {
      label: "Denoising steps taken",
      min: 0, max: 4, step: 1, value: 4,
      show: (k) => `${k} of 4: ${live.x(4 - k)}`,
    }, () => view.redraw());
    const view = live.canvas(root, {
      label: "",
      ratio: 0.54,
      draw: (context, width, height, colour) => {
        context.clearRect(0, 0, width, height);
        const size = Math.min(height - 26, width / 2 - 8);
        ["Denoising Diffusion GAN", "best Gaussian steps"].forEach((title, k) => {
          const place = { left: k * (width / 2 + 4), top: 24, size };
          frame(context, place, colour, title);
          if (!chains) return;
          const [fill, radius] = [colour(k ? "fourth" : "model"), width < 500 ? 1 : 1.5];
          live.dots(context, chains[k][step.value], { ...place, reach: REACH, radius, fill });
          circles(context, place, colour);
        });
      },
    });
    const status = live.status(root);

    function sample() {
      const normal = live.normals(seed++);
      const begin = performance.now();
      const ours = model.sample(2000, normal);
      const took = performance.now() - begin;
      chains = [ours, live.gaussianChain(model.alphaBar, ours[0], normal)];
      const [mine, theirs] = chains.map((chain) => live.planeScores(chain[4]));
      const percent = ({ hq3, modes }) => `${(100 * hq3).toFixed(0)} %, ${modes} of 25 clusters covered`;
      status.textContent =
        `Samples within three standard deviations of a cluster's centre: DDGAN ${percent(mine)}; ` +
        `best Gaussian steps ${percent(theirs)}. The DDGAN took ${took.toFixed(0)} ms here.`;
      view.describe(
        `Two scatter plots of 2,000 points. The DDGAN's end on ${mine.modes} of 25 clusters, those ` +
          `of the Gaussian steps mostly between them.`
      );
      live.planeNow = { chains, scores: [mine, theirs], milliseconds: took }; // for the tests
    }

    function play() {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      let k = calm ? 4 : 0;
      clearInterval(play.timer);
      const show = () => {
        step.value = k;
        view.redraw();
        if (k++ >= 4) clearInterval(play.timer);
      };
      if (!calm) play.timer = setInterval(show, 600);
      show();
    }
    step.input.addEventListener("input", () => clearInterval(play.timer));
    draw.after(step.input.parentElement);
    sample();
    view.redraw();
  });

  // -- one step by hand ---------------------------------------------------------------------

  live.mount("live-step", (root) => {
    const model = live.model("gaussians");
    const [others, normal] = [400, live.normals(7)];
    const crowd = live.normalArray(others * model.latent, normal); // what other z would answer
    let own = live.normalArray(model.latent, normal);
    const controls = live.element(root, "div", { class: "live-controls" });
    const level = live.slider(controls, {
      label: "Noise level t of xₜ", min: 1, max: 4, step: 1, value: 1, show: (t) => `t = ${t}`,
    }, update);
    const number = (v) => v.toFixed(2);
    const axis = (label, value, reach) => live.slider(controls, {
      label, min: -reach, max: reach, step: 0.01, value, show: number,
    }, update);
    const at = [axis("xₜ, first coordinate", 0.46, REACH), axis("xₜ, second coordinate", 0.36, REACH)];
    const z = [axis("z, first of eight", own[0], 3), axis("z, second of eight", own[1], 3)];
    live.button(controls, "Draw another z", () => {
      own = live.normalArray(model.latent, normal);
      z.forEach((slider, k) => (slider.value = own[k]));
      update();
    });
    const pads = live.element(root, "div", { class: "live-pads" });
    let state;
    const plane = live.canvas(live.element(pads, "div"), {
      label: "", ratio: 1, draw: (...place) => drawPlane(...place),
    });
    const latent = live.canvas(live.element(pads, "div"), {
      label: "The first two numbers of z: drag the point.", ratio: 1,
      draw: (...place) => drawLatent(...place),
    });
    const move = (sliders, reach) => (x, y) => {
      sliders[0].value = (2 * x - 1) * reach;
      sliders[1].value = (1 - 2 * y) * reach;
      update();
    };
    live.drag(plane.canvas, move(at, REACH));
    live.drag(latent.canvas, move(z, 3));
    const status = live.status(root);

    function update() {
      const [t, x] = [level.value, at.map((slider) => slider.value)];
      own[0] = z[0].value;
      own[1] = z[1].value;
      const many = new Float32Array(2 * others).map((_, k) => x[k % 2]);
      const exact = live.denoising(DATA, x, 1, model.alphaBar[t]);
      state = {
        t, x, exact,
        guess: model.predict(Float32Array.from(x), own, t, 1),
        guesses: model.predict(many, crowd, t, others),
        mean: live.mean(exact),
        covariance: live.covariance(exact),
      };
      live.stepNow = { ...state, z: own }; // for the tests
      const likely = exact.weights.filter((weight) => weight > 0.02).length;
      const { hq3 } = live.planeScores(state.guesses);
      status.textContent =
        `${likely} of 25 clusters are likely origins of this ${live.x(t)}. Of 400 guesses with other z, ` +
        `${(100 * hq3).toFixed(0)} % lie on a cluster; yours is ` +
        `(${number(state.guess[0])}, ${number(state.guess[1])}).`;
      plane.describe(`The plane with xₜ and the generator's guesses. ${status.textContent}`);
      plane.redraw();
      latent.redraw();
    }

    function drawPlane(context, width, height, colour) {
      if (!state) return;
      context.clearRect(0, 0, width, height);
      const place = { left: 0, top: 22, size: Math.min(width, height - 22) };
      const pixel = ([x, y]) => [
        place.left + (place.size * (x + REACH)) / (2 * REACH),
        place.top + (place.size * (REACH - y)) / (2 * REACH),
      ];
      frame(context, place, colour, "guesses of x₀ (drag xₜ)");
      circles(context, place, colour, state.exact.weights);
      const fill = colour("model");
      live.dots(context, state.guesses, { ...place, reach: REACH, radius: 1.6, fill, alpha: 0.6 });
      // Two standard deviations of the best Gaussian: the unit circle through Cholesky.
      const [[a, b], [, d]] = state.covariance;
      const [first, below] = [Math.sqrt(a), b / Math.sqrt(a)];
      const last = Math.sqrt(Math.max(0, d - below ** 2));
      context.beginPath();
      for (let k = 0; k <= 60; k++) {
        const [u, v] = [2 * Math.cos((k * Math.PI) / 30), 2 * Math.sin((k * Math.PI) / 30)];
        context.lineTo(...pixel([state.mean[0] + first * u, state.mean[1] + below * u + last * v]));
      }
      context.setLineDash([6, 4]);
      [context.strokeStyle, context.lineWidth] = [colour("fourth"), 2];
      context.stroke();
      context.setLineDash([]);
      for (const [point, name] of [[state.x, "third"], [state.guess, "model"]]) {
        context.beginPath();
        context.arc(...pixel(point), 7, 0, 2 * Math.PI);
        [context.fillStyle, context.strokeStyle] = [colour(name), colour("paper")];
        context.fill();
        context.stroke();
      }
    }

    function drawLatent(context, width, height, colour) {
      context.clearRect(0, 0, width, height);
      const place = { left: 0, top: 22, size: Math.min(width, height - 22) };
      frame(context, place, colour, "z, two of eight numbers (drag)");
      const pairs = new Float32Array(2 * others).map(
        (_, k) => crowd[Math.floor(k / 2) * model.latent + (k % 2)]
      );
      const rest = { ...place, reach: 3 };
      live.dots(context, pairs, { ...rest, radius: 1.6, fill: colour("quiet") });
      live.dots(context, own.subarray(0, 2), { ...rest, radius: 7, fill: colour("model"), alpha: 1 });
    }
    update();
  });
})();
