/* Live: a drawing becomes a digit. It is noised to x_t, and a model that draws digits goes on from
   there (SDEdit). The pen draws as the data's writers did: on 32 by 32 spots, counted in blocks of
   4 by 4, which makes 8 by 8 shades, or as MNIST's digits stand, on 24 by 24 of its 32 by 32. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const [SPOTS, PEN, ROWS] = [32, 2.1, 4]; // PEN: its radius, in spots
  const SMOOTH = 100; // milliseconds: a slower answer waits until the line ends
  const MODELS = [
    { name: "digits", words: "8 × 8", margin: 0 },
    { name: "mnist", words: "MNIST, 32 × 32", margin: 4, script: "mnist-model" },
  ]; // margin: paper that the data have around a digit, in pixels

  /** Ink along a straight line between two places in spots, from the top left. */
  live.line = function (ink, [x0, y0], [x1, y1]) {
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(x1 - x0, y1 - y0)));
    for (let k = 0; k <= steps; k++) {
      const [x, y] = [x0 + (k * (x1 - x0)) / steps, y0 + (k * (y1 - y0)) / steps];
      for (let spot = 0; spot < ink.length; spot++)
        if (Math.hypot((spot % SPOTS) + 0.5 - x, Math.floor(spot / SPOTS) + 0.5 - y) < PEN) ink[spot] = 1;
    }
  };

  /** The line through all of these places. */
  live.drawing = function (corners) {
    const ink = new Uint8Array(SPOTS * SPOTS);
    corners.slice(1).forEach((corner, k) => live.line(ink, corners[k], corner));
    return ink;
  };

  /** The ink as a model of size x size pixels sees it, from -1 where there is none to 1. */
  live.seen = function (ink, size = 8, margin = 0) {
    const block = (3 * SPOTS) / (size - 2 * margin); // of a pixel, in thirds of a spot: 12 or 4
    const counts = new Float32Array(size * size);
    for (let k = 0; k < 9 * ink.length; k++) {
      const [row, column] = [Math.floor(k / (3 * SPOTS)), k % (3 * SPOTS)];
      const pixel = (margin + Math.floor(row / block)) * size + margin + Math.floor(column / block);
      counts[pixel] += ink[Math.floor(row / 3) * SPOTS + Math.floor(column / 3)];
    }
    return counts.map((count) => (2 * count) / block ** 2 - 1);
  };

  /** [x_t, .., x_0] of n images that begin as this sheet, each under noise of its own. */
  live.fromDrawing = function (model, sheet, t, n, normal, label = null) {
    const [signal, noise] = [Math.sqrt(model.alphaBar[t]), Math.sqrt(1 - model.alphaBar[t])];
    const x = live.normalArray(n * model.dim, normal);
    return model.sample(n, normal, x.map((v, k) => signal * sheet[k % model.dim] + noise * v), t, label);
  };

  live.mount("strokes", (root) => {
    const examples = globalThis.ddganDrawings;
    let [model, margin] = [live.model(MODELS[0].name), MODELS[0].margin];
    const columns = model.T + 2; // the drawing, x_T, .., x_0
    let [ink, example, chain, frame, took] = [null, null, null, 0, 0];
    const pen = { place: [SPOTS / 2, SPOTS / 2], held: false, down: false, shown: false }; // down: by a key
    const pads = live.element(root, "div", { class: "live-pads" });
    const pad = live.canvas(live.element(pads, "div"), { label: "", ratio: 1, draw: drawPad });
    const answers = live.canvas(live.element(pads, "div"), {
      label: "", ratio: (ROWS + 0.35) / columns, draw: drawAnswers,
    });
    const status = live.status(root);
    const controls = live.element(root, "div", { class: "live-controls" });
    const which = live.choice(controls, "Model", MODELS.map(({ words }) => words), choose);
    const starts = live.element(controls, "div", {
      class: "live-buttons", role: "group", "aria-label": "Drawings to start from",
    });
    starts.append("Start from:");
    examples.forEach((_, digit) => live.button(starts, String(digit), () => begin(digit)));
    const buttons = live.element(controls, "div", { class: "live-buttons" });
    live.button(buttons, "Clear the sheet", () => begin(null));
    live.button(buttons, "Other noise", () => {
      seed.value += 1;
      answer();
    });
    const level = live.slider(controls, {
      label: "Enter the chain at", min: 1, max: model.T, step: 1, value: 1, show: live.x,
    }, answer);
    const asked = live.slider(controls, {
      label: "Ask for", min: -1, max: model.classes - 1, step: 1, value: -1,
      show: (label) => (label < 0 ? "any" : String(label)),
    }, answer);
    const seed = { value: 1 };

    /** Its script comes when it is chosen. */
    async function choose(k) {
      const { name, script, margin: paper } = MODELS[k];
      if (script) {
        status.textContent = "Loading the model.";
        await live.load(script);
        if (which.value !== k) return; // another was chosen meanwhile
      }
      [model, margin] = [live.model(name), paper];
      answer();
    }
    const chosen = {
      get value() {
        return which.value;
      },
      set value(k) {
        if (!(k in MODELS)) return;
        which.value = k;
        choose(k);
      },
    };

    /** For the address: an example's number or, drawn by hand, the spots, eight letters a row. */
    const sheet = {
      get value() {
        if (example !== null) return String(example);
        const bits = ink.join("").match(/.{32}/g);
        return bits.map((row) => parseInt(row, 2).toString(16).padStart(8, "0")).join("");
      },
      set value(text) {
        if (/^\d$/.test(text)) return begin(Number(text));
        if (!/^[0-9a-f]{256}$/.test(text)) return;
        const bits = text.match(/.{8}/g).map((row) => parseInt(row, 16).toString(2).padStart(SPOTS, "0"));
        [ink, example] = [Uint8Array.from(bits.join("")), null];
      },
    };

    function begin(digit) {
      ink = digit === null ? new Uint8Array(SPOTS * SPOTS) : live.drawing(examples[digit]);
      example = digit;
      answer();
    }

    const drawing = () => pen.held || pen.down;
    const seen = () => live.seen(ink, model.shape[1], margin);

    function answer() {
      if (drawing() && took > SMOOTH) return pad.redraw();
      const begun = performance.now();
      const [t, label] = [level.value, asked.value < 0 ? null : asked.value];
      chain = live.fromDrawing(model, seen(), t, ROWS, live.normals(seed.value), label);
      took = performance.now() - begun;
      live.strokesNow = { ink, chain, t, label, milliseconds: took }; // for the tests
      pad.redraw();
      answers.redraw();
      if (drawing()) return; // said when the line ends
      const empty = !ink.includes(1);
      const [share, noise] = [model.alphaBar[t], 1 - model.alphaBar[t]].map(Math.sqrt);
      status.textContent = empty
        ? "The sheet is empty: draw on it, or start from a drawing of ours."
        : `${live.x(t)} keeps ${(100 * share).toFixed(0)} % of the drawing, under noise of ` +
          `${noise.toFixed(2)}. ${ROWS} answers, ${t} of ${model.T} steps each: ${took.toFixed(0)} ms.`;
      pad.describe(
        `A sheet to draw a digit on${empty ? ", empty" : ""}. Arrow keys move the pen; the space bar ` +
          "puts it down, and lifts it again."
      );
      answers.describe(
        `The drawing as the model sees it, and ${ROWS} rows from it under noise, ${live.x(t)}, to a digit.`
      );
    }

    // -- the pen ----------------------------------------------------------------------------------

    function move(to) {
      if (drawing()) {
        live.line(ink, pen.place, to);
        example = null;
      }
      pen.place = to;
      cancelAnimationFrame(frame); // one answer a frame, however often the pen reports
      frame = requestAnimationFrame(answer);
    }

    function lift() {
      if (!drawing()) return;
      pen.held = pen.down = false;
      answer();
      pad.canvas.dispatchEvent(new Event("change", { bubbles: true })); // into the address
    }

    const { canvas } = pad;
    const spot = ({ clientX, clientY }) => {
      const box = canvas.getBoundingClientRect();
      return [((clientX - box.left) * SPOTS) / box.width, ((clientY - box.top) * SPOTS) / box.height];
    };
    Object.assign(canvas.style, { touchAction: "none", cursor: "crosshair" });
    canvas.setAttribute("role", "application"); // a screen reader leaves the arrow keys to it
    canvas.tabIndex = 0;
    canvas.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      Object.assign(pen, { place: spot(event), held: true, down: false, shown: false });
      move(pen.place); // a dot
    });
    canvas.addEventListener("pointermove", (event) => {
      if (pen.held && event.isPrimary) [...event.getCoalescedEvents(), event].map(spot).forEach(move);
    });
    for (const end of ["pointerup", "pointercancel", "blur"]) canvas.addEventListener(end, lift);
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const way = ARROWS[event.key];
      if (!way && event.key !== " ") return;
      event.preventDefault();
      pen.shown = true;
      if (!way && pen.down) return lift();
      if (!way) pen.down = true;
      move(pen.place.map((v, k) => Math.min(SPOTS, Math.max(0, v + (way ? way[k] : 0)))));
    });

    // -- the pictures -----------------------------------------------------------------------------

    function drawPad(context, width, height, colour) {
      if (!ink) return;
      const values = Float32Array.from(ink, (spot) => 2 * spot - 1);
      context.imageSmoothingEnabled = true;
      context.drawImage(live.picture(values, [1, SPOTS]), 0, 0, width, height);
      if (!pen.shown) return;
      context.beginPath();
      context.arc(...pen.place.map((v) => (v * width) / SPOTS), (PEN * width) / SPOTS, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [colour("model"), pen.down ? 4 : 2];
      context.stroke();
    }

    /** From the left: the drawing, and the chain, whose first levels it passes by. */
    function drawAnswers(context, width, height, colour) {
      if (!chain) return;
      context.clearRect(0, 0, width, height);
      const [cell, t] = [width / columns, chain.length - 1];
      const left = (level) => (columns - 1 - level) * cell + 2; // of x_level
      const top = (row) => (row + 0.35) * cell + 2;
      const show = (image, x, row) => context.drawImage(image, x, top(row), cell - 4, cell - 4);
      const write = (text, x) => context.fillText(text, x + cell / 2 - 2, 0.25 * cell);
      [context.fillStyle, context.strokeStyle, context.textAlign] = [colour("ink"), colour("quiet"), "center"];
      [context.imageSmoothingEnabled, context.lineWidth] = [false, 2];
      const middle = (ROWS - 1) / 2;
      write("drawing", 2);
      show(live.picture(seen(), model.shape), 2, middle);
      context.beginPath();
      context.moveTo(cell + 4, top(middle + 0.5));
      context.lineTo(left(t) - 8, top(middle + 0.5));
      context.stroke();
      for (let level = model.T; level >= 0; level--) {
        context.globalAlpha = level > t ? 0.6 : 1;
        write(live.x(level), left(level));
      }
      chain.forEach((x, k) => {
        for (let row = 0; row < ROWS; row++) show(live.picture(x, model.shape, row), left(t - k), row);
      });
    }

    begin(0);
    live.remember(root, { seed, sheet, t: level, asked, model: chosen });
    answer();
  });
})();
