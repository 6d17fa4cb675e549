/* Live: the trained DDGAN of 25 Gaussians, beside the best four Gaussian steps there are. Points move
   from step to step with trails behind them, and one can be followed all the way. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const REACH = live.planeReach;
  const [MANY, TRAILED, TRAIL] = [2000, 250, 0.3]; // samples; with a trail; steps that it is long

  /** The points at `when` steps (0 to 4, with fractions) along a chain: arrive and leave gently. */
  live.between = function (chain, when) {
    const k = Math.min(Math.floor(when), chain.length - 2);
    const share = when - k;
    const eased = share * share * (3 - 2 * share);
    if (eased === 0) return chain[k];
    return chain[k].map((value, i) => value + eased * (chain[k + 1][i] - value));
  };

  live.mount("plane", (root) => {
    const model = live.model("gaussians");
    const [motion, steps] = [live.motion(), model.T];
    let [chains, places, followed, when] = [null, [], null, steps];
    const view = live.canvas(root, {
      label: "",
      ratio: (width) => 0.5 + 20 / width,
      draw: (context, width, height, colour) => {
        context.clearRect(0, 0, width, height);
        const size = width / 2 - 4;
        places = [0, 1].map((k) => ({ left: k * (size + 8), top: 24, size }));
        ["Denoising Diffusion GAN", "best Gaussian steps"].forEach((title, k) => {
          const [place, fill] = [places[k], colour(k ? "fourth" : "model")];
          live.frame(context, place, colour, title);
          if (!chains) return;
          trails(context, place, chains[k], fill);
          live.dots(context, live.between(chains[k], when), { ...place, reach: REACH, radius: width < 500 ? 1 : 1.3, fill });
          live.circles(context, place, colour);
          if (followed !== null) path(context, place, chains[k], colour);
        });
      },
    });
    const status = live.status(root);
    const controls = live.element(root, "div", { class: "live-controls" });
    const buttons = live.element(controls, "div", { class: "live-buttons" });
    live.button(buttons, "Draw 2,000 samples", () => {
      seed.value += 1;
      followed = null;
      sample();
      play();
    });
    live.button(buttons, "Play the steps", () => play());
    live.button(buttons, "Follow a point", () => {
      followed = ((followed ?? -1) + 1) % MANY;
      play();
    });
    const step = live.slider(controls, {
      label: "Denoising steps taken",
      min: 0, max: steps, step: 1, value: steps,
      show: (k) => `${k} of ${steps}: ${live.x(steps - k)}`,
    }, () => {
      motion.stop();
      show(step.value);
    });
    const seed = { value: 1 }; // kept in the address, as the slider is

    const pixel = ({ left, top, size }, points, k) => [
      left + (size * (points[2 * k] + REACH)) / (2 * REACH), top + (size * (REACH - points[2 * k + 1])) / (2 * REACH),
    ];

    /** What lies behind some of the points while they move. */
    function trails(context, place, chain, stroke) {
      if (Number.isInteger(when)) return;
      context.save();
      context.beginPath();
      context.rect(place.left, place.top, place.size, place.size);
      context.clip();
      context.beginPath();
      for (let part = 0; part < 3; part++) {
        const [from, to] = [when - TRAIL * (1 - part / 3), when - TRAIL * (1 - (part + 1) / 3)]
          .map((time) => live.between(chain, Math.max(0, time)));
        for (let k = 0; k < TRAILED; k++) {
          context.moveTo(...pixel(place, from, k));
          context.lineTo(...pixel(place, to, k));
        }
      }
      [context.strokeStyle, context.globalAlpha, context.lineWidth] = [stroke, 0.5, 1];
      context.stroke();
      context.restore();
    }

    /** The way of the point that is followed, as far as it has come; x_4 .. are written beside it. */
    function path(context, place, chain, colour) {
      context.save();
      context.beginPath();
      context.rect(place.left, place.top, place.size, place.size);
      context.clip();
      const stops = Array.from({ length: Math.floor(when) + 1 }, (_, k) => pixel(place, chain[k], followed));
      const now = pixel(place, live.between(chain, when), followed);
      context.beginPath();
      for (const stop of [...stops, now]) context.lineTo(...stop);
      [context.strokeStyle, context.lineWidth] = [colour("ink"), 2];
      context.stroke();
      stops.forEach(([x, y], k) => {
        context.beginPath();
        context.arc(x, y, 4, 0, 2 * Math.PI);
        context.fillStyle = colour("ink");
        context.fill();
        context.fillText(live.x(steps - k), x + 7, y - 5);
      });
      context.beginPath();
      context.arc(...now, 6, 0, 2 * Math.PI);
      context.fillStyle = colour("third");
      context.fill();
      context.restore();
    }

    function sample() {
      const normal = live.normals(seed.value);
      const begin = performance.now();
      const ours = model.sample(MANY, normal);
      const took = performance.now() - begin;
      chains = [ours, live.gaussianChain(model.alphaBar, ours[0], normal)];
      const scores = chains.map((chain) => live.planeScores(chain[steps]));
      live.planeNow = { chains, scores, milliseconds: took }; // for the tests
      tell();
    }

    /** The scores belong to x_0, and are shown with it. */
    function tell() {
      const { scores, milliseconds } = live.planeNow;
      const [mine, theirs] = scores.map(({ hq3, modes }) =>
        `${(100 * hq3).toFixed(0)} %, ${modes} of 25 clusters covered`);
      const words = step.value === steps
        ? `Samples within three standard deviations of a cluster's centre: DDGAN ${mine}; ` +
          `best Gaussian steps ${theirs}. The DDGAN took ${milliseconds.toFixed(0)} ms here.`
        : `${live.x(steps - step.value)}, ${step.value} of ${steps} steps taken: only x₀ is scored.`;
      if (status.textContent !== words) status.textContent = words; // it is read aloud when it changes
      view.describe(
        `Two scatter plots of 2,000 points at ${live.x(steps - step.value)}. At x₀ the DDGAN's lie on ` +
          `${scores[0].modes} of 25 clusters, those of the Gaussian steps mostly between them.` +
          (followed === null ? "" : " One point is followed on its path.")
      );
    }

    function show(time) {
      when = time;
      const taken = Math.floor(time);
      if (taken !== step.value) step.value = taken;
      tell();
      view.redraw();
    }
    const play = () => motion.play(4, (share) => show(steps * share));

    view.canvas.style.cursor = "crosshair";
    view.canvas.addEventListener("click", (event) => {
      const box = view.canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const inside = ({ left, top, size }) => x >= left && x < left + size && y >= top && y < top + size;
      const which = places.findIndex(inside);
      if (which < 0) return;
      const points = live.between(chains[which], when);
      let nearest = Infinity;
      for (let k = 0; k < MANY; k++) {
        const [u, v] = pixel(places[which], points, k);
        if (Math.hypot(u - x, v - y) < nearest) [nearest, followed] = [Math.hypot(u - x, v - y), k];
      }
      live.planeNow.followed = followed;
      show(when);
    });
    live.remember(root, { seed, step });
    sample();
    show(step.value);
  });
})();
