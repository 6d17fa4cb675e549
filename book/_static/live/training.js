/* Live: a DDGAN of points trained in the page. The run is in a worker (trainer.js); here it is shown. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const REACH = live.planeReach;
  const LOSSES = [["d_real", "data", "D, real"], ["d_fake", "fourth", "D, fake"], ["g_adversarial", "model", "G"]];

  live.mount("training", (root) => {
    const recipe = globalThis.ddganRecipe;
    const { means, std } = live.planeData;
    let [worker, view, history, running, waiting] = [null, null, [], false, false];
    const picture = live.canvas(root, {
      label: "",
      ratio: (width) => (width < 500 ? 0.95 : 0.73),
      draw: (...place) => draw(...place),
    });
    const status = live.status(root);
    const controls = live.element(root, "div", { class: "live-controls" });
    const buttons = live.element(controls, "div", { class: "live-buttons" });
    const toggle = live.button(buttons, "Train", () => run(!running));
    live.button(buttons, "Start anew", () => {
      seed.value += 1;
      begin(true);
    });
    const level = live.slider(controls, {
      label: "Noise level t of xₜ", min: 1, max: 4, step: 1, value: 1, show: (t) => `t = ${t}`,
    }, ask);
    const axis = (label, value) => live.slider(controls, {
      label, min: -REACH, max: REACH, step: 0.01, value, show: (x) => x.toFixed(2),
    }, ask);
    const at = [axis("xₜ, first coordinate", 0.46), axis("xₜ, second coordinate", 0.36)];
    const seed = { value: 0 };
    const small = document.createElement("canvas"); // the map, a pixel for each verdict
    let square = { left: 0, top: 0, size: 1 };

    const asked = () => ({ x: at.map((slider) => slider.value), t: level.value });
    function ask() {
      if (!waiting) worker?.postMessage({ asked: asked() }); // one question at a time
      waiting = true;
      picture.redraw();
    }

    function begin(train) {
      worker?.terminate();
      [worker, view, history, waiting] = [live.trainerWorker(), null, [], false];
      worker.onmessage = ({ data }) => heard(data);
      worker.postMessage({ recipe, data: { means, std }, seed: seed.value, asked: asked() });
      run(train);
    }

    function run(train) {
      if (train && view && view.step === view.steps) return begin(true);
      running = train;
      worker.postMessage({ running, asked: asked() });
      tell();
    }

    function heard(said) {
      view = said;
      if (waiting) worker.postMessage({ asked: asked() }); // it may have moved on meanwhile
      waiting = false;
      const { losses, step, steps } = view;
      if (step > (history.at(-1)?.step ?? 0)) history.push({ step, ...losses });
      if (step === steps) running = false;
      view.scores = live.planeScores(view.points);
      live.trainingNow = view; // for the tests
      tell();
      picture.redraw();
    }

    function tell() {
      toggle.textContent = running ? "Pause" : view && view.step === view.steps ? "Train again" : view?.step ? "Go on" : "Train";
      if (!view) return;
      const { scores, step, steps, seconds } = view;
      const words = `Update ${step.toLocaleString("en")} of ${steps.toLocaleString("en")}, ${seconds.toFixed(0)} s: ` +
        `${scores.modes} of 25 clusters found, HQ3 ${(100 * scores.hq3).toFixed(0)} %.`;
      told.textContent = words;
      // Said aloud when something ends, not at every look.
      if (!running && status.textContent !== words) status.textContent = words;
      picture.describe(
        `Samples of the generator in training, a map of the discriminator's verdicts, and their losses. ${words}`
      );
    }
    const told = live.element(root, "p", { class: "live-count", "aria-hidden": "true" });
    status.before(told);
    status.classList.add("visually-hidden");

    const rgb = (text) => {
      const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };

    /** Verdicts as an image: the paper at 0.5, blue below it and vermilion above. */
    function paint({ surface, side }, colour) {
      const [paper, low, high] = ["paper", "data", "model"].map((name) => rgb(colour(name)));
      const image = new ImageData(side, side);
      surface.forEach((verdict, k) => {
        const share = Math.min(1, Math.abs(2 * verdict - 1) * 1.2);
        const end = verdict < 0.5 ? low : high;
        for (let c = 0; c < 3; c++) image.data[4 * k + c] = paper[c] + share * (end[c] - paper[c]);
        image.data[4 * k + 3] = 255;
      });
      [small.width, small.height] = [side, side];
      small.getContext("2d").putImageData(image, 0, 0);
    }

    function draw(context, width, height, colour) {
      context.clearRect(0, 0, width, height);
      const size = (width - 12) / 2;
      const left = { left: 0, top: 24, size };
      square = { left: size + 12, top: 24, size };
      live.frame(context, left, colour, width < 500 ? "samples" : "samples of the generator");
      if (view) {
        live.dots(context, view.points, { ...left, reach: REACH, radius: width < 500 ? 1 : 1.4, fill: colour("model") });
        paint(view, colour);
        context.imageSmoothingEnabled = true;
        context.drawImage(small, square.left, square.top, size, size);
      }
      live.circles(context, left, colour);
      const name = `D's verdict on ${live.x(level.value - 1)}, given ${live.x(level.value)}`;
      live.frame(context, square, colour, width < 500 ? `D on ${live.x(level.value - 1)} | ${live.x(level.value)}` : name);
      const point = Float32Array.from(at, (slider) => slider.value);
      live.dots(context, point, { ...square, reach: REACH, radius: 7, fill: colour("third"), alpha: 1 });
      curves(context, { left: 0, top: size + 52, width, height: height - size - 72 }, colour);
    }

    /** The losses over the run, and beside each line its name. */
    function curves(context, { left, top, width, height }, colour) {
      const [most, right] = [1.6, width - 62];
      const [x, y] = [(step) => left + (right * step) / recipe.settings.steps, (loss) => top + height * (1 - Math.min(loss, most) / most)];
      [context.strokeStyle, context.fillStyle, context.lineWidth, context.textAlign] = [colour("quiet"), colour("ink"), 1, "left"];
      context.fillText("losses (log 2 = 0.69 is a draw)", left + 2, top - 7);
      context.beginPath();
      context.rect(left + 0.5, top, right, height);
      context.moveTo(left, y(Math.LN2));
      context.lineTo(left + right, y(Math.LN2));
      context.stroke();
      LOSSES.forEach(([key, shade, words], k) => {
        context.beginPath();
        for (const row of history) context.lineTo(x(row.step), y(row[key]));
        [context.strokeStyle, context.lineWidth] = [colour(shade), 1.5];
        context.stroke();
        context.fillStyle = colour(shade);
        context.fillText(words, left + right + 8, top + 14 + 20 * k);
      });
    }

    live.drag(picture.canvas, (x, y) => {
      const [width, height] = [picture.canvas.clientWidth, picture.canvas.clientHeight];
      const [u, v] = [(x * width - square.left) / square.size, (y * height - square.top) / square.size];
      if (u < 0 || u > 1 || v < 0 || v > 1) return;
      at[0].value = (2 * u - 1) * REACH;
      at[1].value = (1 - 2 * v) * REACH;
      ask();
    }, () => [
      (square.left + (square.size * (at[0].value + REACH)) / (2 * REACH)) / picture.canvas.clientWidth,
      (square.top + (square.size * (REACH - at[1].value)) / (2 * REACH)) / picture.canvas.clientHeight,
    ]);
    live.remember(root, { seed, t: level, x: at[0], y: at[1] });
    begin(false);
  });
})();
