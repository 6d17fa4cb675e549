/* Live page: DDGANs of images, four evaluations of a small network each. The elements #live-images,
   #live-digits and #live-mnist name their models in data-model; one with classes can be asked for a
   label; with data-mixed, asked for any, it draws its classes in turn. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const ROWS = 6;

  /** The chain of ROWS images whose first `shared` entries (x_T, x_{T-1}, ..) are one image. */
  live.branches = function (model, shared, normal, label = null) {
    const { T, dim, latent } = model;
    const chain = [live.normalArray(ROWS * dim, normal)];
    for (let k = 0; k <= T; k++) {
      const x = chain[k];
      if (k < shared) for (let row = 1; row < ROWS; row++) x.copyWithin(row * dim, 0, dim);
      if (k === T) return chain;
      const guess = model.predict(x, live.normalArray(ROWS * latent, normal), T - k, ROWS, label);
      chain.push(model.posterior(guess, x, T - k, live.normalArray(x.length, normal)));
    }
  };

  /** Image `row` of x, its channels side by side in grey, a pixel for each value from -1 to 1. */
  live.picture = function (x, [channels, size], row = 0) {
    const [canvas, image] = [document.createElement("canvas"), new ImageData(channels * size, size)];
    for (let c = 0; c < channels; c++)
      for (let k = 0; k < size * size; k++) {
        const value = 127.5 * (x[(row * channels + c) * size * size + k] + 1);
        const at = 4 * (Math.floor(k / size) * channels * size + c * size + (k % size));
        image.data.fill(value, at, at + 3); // Uint8ClampedArray rounds and clamps
        image.data[at + 3] = 255;
      }
    [canvas.width, canvas.height] = [channels * size, size];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };

  const mount = (name, drawn) => live.mount(name, (root) => {
    const model = live.model(root.dataset.model);
    const [channels] = model.shape;
    const thumb = channels > 1 ? 1 / channels : 1; // noise needs no more room than one large digit
    const across = (model.T * thumb + 1) * channels;
    const wide = Math.max(7, across); // in large digits; one channel need not fill the width
    const mixed = "mixed" in root.dataset;
    let [seed, chain] = [1, null];
    const view = live.canvas(root, {
      label: "",
      ratio: () => (ROWS + 0.35) / wide,
      draw: (context, width, height, colour) => {
        context.clearRect(0, 0, width, height);
        const cell = width / wide;
        const left = (k) => k * channels * thumb * cell; // of x_T, x_{T-1}, ..
        const scale = (k) => (k < model.T ? thumb : 1);
        context.imageSmoothingEnabled = false;
        [context.fillStyle, context.textAlign] = [colour("ink"), "center"];
        for (let k = 0; k <= model.T; k++)
          context.fillText(live.x(model.T - k), left(k) + 0.5 * channels * cell * scale(k), 0.25 * cell + 2);
        if (!chain) return;
        chain.forEach((x, k) => {
          for (let row = 0; row < ROWS; row++) {
            const size = scale(k) * cell;
            const top = (row + 0.35) * cell + (cell - size) / 2 + 2;
            context.drawImage(live.picture(x, model.shape, row), left(k) + 2, top, channels * size - 4, size - 4);
          }
        });
      },
    });
    const status = live.status(root);
    const controls = live.element(root, "div", { class: "live-controls" });
    live.button(controls, `Draw ${ROWS} ${drawn}`, () => sample(seed + 1));
    const shared = live.slider(controls, {
      label: "Share the chain",
      min: 0, max: model.T, step: 1, value: 0,
      show: (k) => (k ? `down to ${live.x(model.T + 1 - k)}` : "not at all"),
    }, () => sample(seed));
    const asked = model.classes && live.slider(controls, {
      label: "Ask for",
      min: -1, max: model.classes - 1, step: 1, value: mixed ? -1 : 3,
      show: (label) => (label < 0 ? (mixed ? "all in turn" : "any") : String(label)),
    }, () => sample(seed));

    function sample(from) {
      seed = from;
      const begin = performance.now();
      const inTurn = () => Array.from({ length: ROWS }, (_, row) => (ROWS * seed + row) % model.classes);
      const any = mixed ? inTurn() : null;
      const label = asked && asked.value >= 0 ? asked.value : any;
      chain = live.branches(model, shared.value, live.normals(seed), label);
      const took = performance.now() - begin;
      const level = model.T + 1 - shared.value;
      const kept = shared.value ? `All six share the chain down to ${live.x(level)}. ` : "";
      status.textContent = `${kept}${ROWS} ${drawn} in four steps each: ${took.toFixed(0)} ms.`;
      view.describe(`${ROWS} rows of images, each from noise on the left to a sample on the right.`);
      live[`${name}Now`] = { chain, label, milliseconds: took }; // for the tests
      view.redraw();
    }
    const kept = { get value() { return seed; }, set value(number) { seed = number; } };
    live.remember(root, asked ? { seed: kept, shared, asked } : { seed: kept, shared });
    sample(seed);
  });
  mount("images", "images");
  mount("digits", "digits");
  mount("mnist", "MNIST digits");
})();
