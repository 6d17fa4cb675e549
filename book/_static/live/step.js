/* Live: one denoising step of the trained DDGAN of 25 Gaussians, by hand. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const [REACH, DATA] = [live.planeReach, live.planeData];
  const TITLE = 22; // pixels above a square

  live.mount("step", (root) => {
    const model = live.model("gaussians");
    const [others, normal] = [400, live.normals(7)];
    const crowd = live.normalArray(others * model.latent, normal); // what other z would answer
    let own = live.normalArray(model.latent, normal);
    const pads = live.element(root, "div", { class: "live-pads" });
    let state;
    const ratio = (width) => 1 + TITLE / width;
    const plane = live.canvas(live.element(pads, "div"), {
      label: "", ratio, draw: (...place) => drawPlane(...place),
    });
    const latent = live.canvas(live.element(pads, "div"), {
      label: "The first two numbers of z: drag the point.", ratio,
      draw: (...place) => drawLatent(...place),
    });
    const status = live.status(root);
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
    // From shares of the canvas, whose square lies under a title, to coordinates and back.
    const tall = () => ratio(plane.canvas.clientWidth);
    const move = (sliders, reach) => (x, y) => {
      sliders[0].value = (2 * x - 1) * reach;
      sliders[1].value = (1 - 2 * (1 - tall() * (1 - y))) * reach;
      update();
    };
    const place = (sliders, reach) => () => [
      (1 + sliders[0].value / reach) / 2, 1 - (1 + sliders[1].value / reach) / 2 / tall(),
    ];
    live.drag(plane.canvas, move(at, REACH), place(at, REACH));
    live.drag(latent.canvas, move(z, 3), place(z, 3));

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
      const place = { left: 0, top: TITLE, size: width };
      const pixel = ([x, y]) => [
        place.left + (place.size * (x + REACH)) / (2 * REACH),
        place.top + (place.size * (REACH - y)) / (2 * REACH),
      ];
      live.frame(context, place, colour, "guesses of x₀ (drag xₜ)");
      live.circles(context, place, colour, state.exact.weights);
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
      const place = { left: 0, top: TITLE, size: width };
      live.frame(context, place, colour, "z, two of eight (drag)");
      const pairs = new Float32Array(2 * others).map(
        (_, k) => crowd[Math.floor(k / 2) * model.latent + (k % 2)]
      );
      const rest = { ...place, reach: 3 };
      live.dots(context, pairs, { ...rest, radius: 1.6, fill: colour("quiet") });
      live.dots(context, own.subarray(0, 2), { ...rest, radius: 7, fill: colour("model"), alpha: 1 });
    }
    live.remember(root, { t: level, x: at[0], y: at[1] });
    update();
  });
})();
