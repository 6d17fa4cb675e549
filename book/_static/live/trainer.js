/* Training a DDGAN of points in plain JavaScript: the recipe that tools/build_live.py takes from the
   library's preset, the step of ddgan_lite/training/trainer.py. tests/test_live_training.py holds
   losses, gradients and whole steps against PyTorch. Matrices are rows of samples, in flat arrays.

   All of it is one function, so that a worker can be made of its text: a page that is opened from
   a folder may not load a worker's file. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});

  function trainerCode(live) {
    "use strict";

    /** C (m x n) = A (m x k) B (k x n), in tiles of 4 x 4 that stay in registers. */
    function multiply(C, A, B, m, k, n) {
      const [rows, columns] = [m - (m % 4), n - (n % 4)];
      for (let r = 0; r < rows; r += 4) {
        const [p, q, s, t] = [r * k, (r + 1) * k, (r + 2) * k, (r + 3) * k];
        for (let c = 0; c < columns; c += 4) {
          let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
          let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
          for (let j = 0, b = c; j < k; j++, b += n) {
            const b0 = B[b], b1 = B[b + 1], b2 = B[b + 2], b3 = B[b + 3];
            let a = A[p + j];
            c00 += a * b0; c01 += a * b1; c02 += a * b2; c03 += a * b3;
            a = A[q + j];
            c10 += a * b0; c11 += a * b1; c12 += a * b2; c13 += a * b3;
            a = A[s + j];
            c20 += a * b0; c21 += a * b1; c22 += a * b2; c23 += a * b3;
            a = A[t + j];
            c30 += a * b0; c31 += a * b1; c32 += a * b2; c33 += a * b3;
          }
          let o = r * n + c;
          C[o] = c00; C[o + 1] = c01; C[o + 2] = c02; C[o + 3] = c03;
          o += n;
          C[o] = c10; C[o + 1] = c11; C[o + 2] = c12; C[o + 3] = c13;
          o += n;
          C[o] = c20; C[o + 1] = c21; C[o + 2] = c22; C[o + 3] = c23;
          o += n;
          C[o] = c30; C[o + 1] = c31; C[o + 2] = c32; C[o + 3] = c33;
        }
      }
      for (let r = 0; r < m; r++) // what the tiles leave at the edges
        for (let c = r < rows ? columns : 0; c < n; c++) {
          let sum = 0;
          for (let j = 0; j < k; j++) sum += A[r * k + j] * B[j * n + c];
          C[r * n + c] = sum;
        }
    }

    function transpose(T, A, m, n) {
      for (let r = 0; r < m; r++) for (let c = 0; c < n; c++) T[c * m + r] = A[r * n + c];
    }

    const numbers = (size) => new Float32Array(size);

    // -- a network: linear layers with LeakyReLU between them -------------------------------------

    /** Weights and gradients each in one array, `values` and `gradient`, in PyTorch's order. */
    function network(sizes, slope) {
      const layers = [];
      let total = 0;
      for (let l = 0; l + 1 < sizes.length; l++) {
        const [wide, narrow] = [sizes[l], sizes[l + 1]];
        layers.push({ wide, narrow, at: total });
        total += narrow * wide + narrow;
      }
      const net = { sizes, slope, values: numbers(total), gradient: numbers(total) };
      net.layers = layers.map(({ wide, narrow, at }) => {
        const views = (array) => [
          array.subarray(at, at + narrow * wide),
          array.subarray(at + narrow * wide, at + narrow * wide + narrow),
        ];
        const [weight, bias] = views(net.values);
        const [weightGradient, biasGradient] = views(net.gradient);
        return { wide, narrow, weight, bias, weightGradient, biasGradient, turned: numbers(narrow * wide) };
      });
      return net;
    }

    /** PyTorch's initial weights: uniform in +-1 / sqrt(fan in), `uniform` from 0 to 1. */
    function initialise(net, uniform) {
      for (const { wide, weight, bias } of net.layers)
        for (const array of [weight, bias])
          for (let k = 0; k < array.length; k++) array[k] = (2 * uniform() - 1) / Math.sqrt(wide);
    }

    /** Room for one pass of n rows: what each layer is given, and the gradients there. */
    function pass(net, n) {
      const most = n * Math.max(...net.sizes);
      return {
        n,
        x: net.sizes.map((size) => numbers(n * size)), // x[0]: the inputs; the last: the outputs
        d: net.sizes.map((size) => numbers(n * size)), // of the loss, at the same places
        tangent: net.sizes.map((size) => numbers(n * size)),
        spare: numbers(most),
        sums: numbers(Math.max(...net.sizes) ** 2),
      };
    }

    /** From x[0] to the outputs. */
    function forward(net, { n, x }) {
      net.layers.forEach(({ wide, narrow, weight, bias, turned }, l) => {
        transpose(turned, weight, narrow, wide);
        const y = x[l + 1];
        multiply(y, x[l], turned, n, wide, narrow);
        const slope = l + 1 < net.layers.length ? net.slope : 1;
        for (let row = 0, k = 0; row < n; row++)
          for (let out = 0; out < narrow; out++, k++) {
            const value = y[k] + bias[out];
            y[k] = value > 0 ? value : slope * value;
          }
      });
      return x[x.length - 1];
    }

    /** Multiply what lies in `d` behind the activations by their slopes. */
    function throughActivation(d, x, slope) {
      for (let k = 0; k < d.length; k++) if (!(x[k] > 0)) d[k] *= slope;
    }

    /** weightGradient += d^T x. */
    function addWeightGradient({ wide, narrow, weightGradient }, d, x, { n, spare, sums }) {
      transpose(spare, d, n, narrow);
      multiply(sums, spare, x, narrow, n, wide);
      for (let k = 0; k < weightGradient.length; k++) weightGradient[k] += sums[k];
    }

    /** From the gradient at the outputs, d.at(-1), to the weights' gradients (added to
        `gradient`, if `learn`) and to the inputs' (if `inputs`). */
    function backward(net, room, { learn, inputs }) {
      const { n, x, d } = room;
      for (let l = net.layers.length - 1; l >= 0; l--) {
        const layer = net.layers[l];
        if (learn) {
          addWeightGradient(layer, d[l + 1], x[l], room);
          for (let row = 0, k = 0; row < n; row++)
            for (let out = 0; out < layer.narrow; out++, k++) layer.biasGradient[out] += d[l + 1][k];
        }
        if (l === 0 && !inputs) return;
        multiply(d[l], d[l + 1], layer.weight, n, layer.narrow, layer.wide);
        if (l > 0) throughActivation(d[l], x[l], net.slope);
      }
    }

    /** The weights' gradient of sum over rows of tangent[0] . d[0], where d are the gradients of the
        outputs and tangent[0] is held: the second half of a double backward. LeakyReLU has no
        second derivative, so tangent runs forward through the same slopes. */
    function backwardTwice(net, room) {
      const { n, x, d, tangent } = room;
      net.layers.forEach((layer, l) => {
        addWeightGradient(layer, d[l + 1], tangent[l], room);
        if (l + 1 === net.layers.length) return;
        transpose(layer.turned, layer.weight, layer.narrow, layer.wide);
        multiply(tangent[l + 1], tangent[l], layer.turned, n, layer.wide, layer.narrow);
        throughActivation(tangent[l + 1], x[l + 1], net.slope);
      });
    }

    // -- waves, in the first columns of the inputs ------------------------------------------------

    /** (x, y) and the sines and cosines of its multiples, into each row of `inputs`. */
    function putWaves(inputs, width, points, scale, frequencies) {
      const many = frequencies.length;
      for (let row = 0, at = 0; at < points.length; row++, at += 2)
        for (let c = 0; c < 2; c++) {
          const value = scale[row] * points[at + c];
          const place = row * width + c;
          inputs[place] = value;
          for (let w = 0; w < many; w++) {
            inputs[place + 2 * (1 + w)] = Math.sin(frequencies[w] * value);
            inputs[place + 2 * (1 + many + w)] = Math.cos(frequencies[w] * value);
          }
        }
    }

    /** The gradient at the points from that at their waves (scale 1): `inputs` as put above. */
    function fromWaves(inputs, gradient, width, n, frequencies) {
      const [many, found] = [frequencies.length, numbers(2 * n)];
      for (let row = 0; row < n; row++)
        for (let c = 0; c < 2; c++) {
          const place = row * width + c;
          let sum = gradient[place];
          for (let w = 0; w < many; w++) {
            const [sine, cosine] = [place + 2 * (1 + w), place + 2 * (1 + many + w)];
            sum += frequencies[w] * (gradient[sine] * inputs[cosine] - gradient[cosine] * inputs[sine]);
          }
          found[2 * row + c] = sum;
        }
      return found;
    }

    /** The way back of fromWaves: `at` (n x 2), carried to the waves. */
    function toWaves(inputs, at, width, n, frequencies, target) {
      const many = frequencies.length;
      target.fill(0); // x_t and t are conditions: nothing is asked of them
      for (let row = 0; row < n; row++)
        for (let c = 0; c < 2; c++) {
          const [place, value] = [row * width + c, at[2 * row + c]];
          target[place] = value;
          for (let w = 0; w < many; w++) {
            const [sine, cosine] = [place + 2 * (1 + w), place + 2 * (1 + many + w)];
            target[sine] = frequencies[w] * inputs[cosine] * value;
            target[cosine] = -frequencies[w] * inputs[sine] * value;
          }
        }
    }

    // -- the method -------------------------------------------------------------------------------

    const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
    const sigmoid = (x) => 1 / (1 + Math.exp(-x));

    function uniforms(seed) {
      let state = seed >>> 0; // mulberry32, as in live.normals
      return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
      };
    }

    /** A run of `recipe` (tools/build_live.py); `data` are {means, std}, points of the plane. */
    live.trainer = function (recipe, data, seed) {
      const { config, settings, alpha_bar: alphaBar } = recipe;
      const { frequencies, latent_dim: latent, num_steps: T, width, depth, slope } = config;
      const [n, uniform, normal] = [settings.batch_size, uniforms(seed), live.normals(seed + 1)];
      const [waves, hidden] = [2 * (1 + 2 * frequencies.length), Array(depth - 1).fill(width)];
      const G = network([waves + latent + T, ...hidden, 2], slope);
      const D = network([waves + 2 + T, ...hidden, 1], slope);
      for (const net of [G, D]) {
        initialise(net, uniform);
        net.second = numbers(net.values.length); // Adam's, of the squares; of the first there is
        net.first = numbers(net.values.length);
      }
      const averaged = network(G.sizes, slope);
      averaged.values.set(G.values);
      const [roomG, real, fake] = [pass(G, n), pass(D, n), pass(D, n)];
      const ones = numbers(n).fill(1);
      const tables = alphaBar.map((a) => {
        const scale = 1 / Math.sqrt(config.data_std ** 2 * a + 1 - a);
        return {
          scale,
          skip: config.data_std ** 2 * Math.sqrt(a) * scale ** 2,
          out: config.data_std * Math.sqrt(1 - a) * scale,
        };
      });
      const run = { G, D, averaged, step: 0, steps: settings.steps, latent, T };

      /** The generator's inputs in `room`; then its guesses of x_0 (rows x 2). */
      function guesses(net, room, x, t, z) {
        const [inputs, wide] = [room.x[0].fill(0), net.sizes[0]];
        putWaves(inputs, wide, x, Array.from(t, (level) => tables[level].scale), frequencies);
        for (let row = 0; row < room.n; row++) {
          for (let k = 0; k < latent; k++) inputs[row * wide + waves + k] = z[row * latent + k];
          inputs[row * wide + waves + latent + t[row] - 1] = 1;
        }
        const answer = forward(net, room);
        return answer.map((value, k) => {
          const { skip, out } = tables[t[k >> 1]];
          return skip * x[k] + out * value;
        });
      }

      /** D's logits for x_{t-1} under its condition. */
      function logits(room, previous, x, t) {
        const [inputs, wide, many] = [room.x[0].fill(0), D.sizes[0], room.n];
        putWaves(inputs, wide, previous, many === n ? ones : numbers(many).fill(1), frequencies);
        for (let row = 0; row < many; row++) {
          inputs[row * wide + waves] = x[2 * row];
          inputs[row * wide + waves + 1] = x[2 * row + 1];
          inputs[row * wide + waves + 2 + t[row] - 1] = 1;
        }
        return forward(D, room);
      }

      const posterior = (guess, x, t, noise) => x.map((value, k) => {
        const level = t[k >> 1];
        const std = Math.sqrt(Math.max(0, recipe.posterior_variance[level]));
        return recipe.posterior_coef_x0[level] * guess[k] + recipe.posterior_coef_xt[level] * value + std * noise[k];
      });

      const drawn = (size) => numbers(size).map(normal);

      /** A batch: true pairs (previous, x) at levels t, and what the generator draws. */
      function batch() {
        const total = recipe.step_weights.reduce((a, b) => a + b);
        const t = Uint8Array.from({ length: n }, () => {
          let [left, level] = [uniform() * total, 1];
          while (level < T && left >= recipe.step_weights[level - 1]) left -= recipe.step_weights[level++ - 1];
          return level;
        });
        const [previous, x] = [numbers(2 * n), numbers(2 * n)];
        for (let row = 0; row < n; row++) {
          const mean = data.means[Math.floor(uniform() * data.means.length)];
          const [before, kept] = [alphaBar[t[row] - 1], alphaBar[t[row]] / alphaBar[t[row] - 1]];
          for (let c = 0; c < 2; c++) {
            const clean = mean[c] + data.std * normal();
            const at = 2 * row + c;
            previous[at] = Math.sqrt(before) * clean + Math.sqrt(1 - before) * normal();
            x[at] = Math.sqrt(kept) * previous[at] + Math.sqrt(1 - kept) * normal();
          }
        }
        return { t, previous, x, z: drawn(n * latent), noise: drawn(2 * n) };
      }

      /** The discriminator's losses and, in D.gradient, their gradient; R1 with weight `gamma`,
          none if it is 0. Leaves the generator's pass in its room for generatorLoss. */
      run.discriminatorLoss = function ({ t, previous, x, z, noise }, gamma) {
        D.gradient.fill(0);
        run.fake = posterior(guesses(G, roomG, x, t, z), x, t, noise);
        const [onReal, onFake] = [logits(real, previous, x, t), logits(fake, run.fake, x, t)];
        const losses = { d_real: 0, d_fake: 0 };
        for (let row = 0; row < n; row++) {
          losses.d_real += softplus(-onReal[row]) / n;
          losses.d_fake += softplus(onFake[row]) / n;
          fake.d[depth][row] = sigmoid(onFake[row]) / n;
        }
        backward(D, fake, { learn: true, inputs: false });
        if (gamma > 0) {
          real.d[depth].fill(1);
          backward(D, real, { learn: false, inputs: true });
          const slopes = fromWaves(real.x[0], real.d[0], D.sizes[0], n, frequencies);
          losses.r1 = slopes.reduce((sum, value) => sum + value * value, 0) / n;
          const held = slopes.map((value) => (gamma * value) / n); // of gamma / 2 times the penalty
          toWaves(real.x[0], held, D.sizes[0], n, frequencies, real.tangent[0]);
          backwardTwice(D, real);
        }
        for (let row = 0; row < n; row++) real.d[depth][row] = -sigmoid(-onReal[row]) / n;
        backward(D, real, { learn: true, inputs: false });
        return losses;
      };

      /** The generator's loss and, in G.gradient, its gradient, on the fakes that D has judged. */
      run.generatorLoss = function ({ t, x }) {
        G.gradient.fill(0);
        const onFake = logits(fake, run.fake, x, t); // by the discriminator as it is now
        let loss = 0;
        for (let row = 0; row < n; row++) {
          loss += softplus(-onFake[row]) / n;
          fake.d[depth][row] = -sigmoid(-onFake[row]) / n;
        }
        backward(D, fake, { learn: false, inputs: true });
        const atFake = fromWaves(fake.x[0], fake.d[0], D.sizes[0], n, frequencies);
        const target = roomG.d[depth];
        for (let k = 0; k < target.length; k++)
          target[k] = atFake[k] * recipe.posterior_coef_x0[t[k >> 1]] * tables[t[k >> 1]].out;
        backward(G, roomG, { learn: true, inputs: false });
        return { g_adversarial: loss };
      };

      /** Adam, at a rate that falls along a cosine. */
      function update(net, start) {
        const [[beta1, beta2], { lr_end: end }, count] = [settings.betas, settings, run.step + 1];
        const rate = end + ((start - end) * (1 + Math.cos((Math.PI * run.step) / settings.steps))) / 2;
        const [first, second] = [1 - beta1 ** count, Math.sqrt(1 - beta2 ** count)];
        const { values, gradient } = net;
        for (let k = 0; k < values.length; k++) {
          net.first[k] = beta1 * net.first[k] + (1 - beta1) * gradient[k];
          net.second[k] = beta2 * net.second[k] + (1 - beta2) * gradient[k] * gradient[k];
          values[k] -= ((rate / first) * net.first[k]) / (Math.sqrt(net.second[k]) / second + 1e-8);
        }
      }

      /** One update of each network; the losses by name. */
      run.advance = function (given = batch()) {
        const { r1, r1_end: last, r1_interval: interval } = settings;
        const gamma = run.step % interval ? 0 : r1 * ((last ?? r1) / r1) ** (run.step / settings.steps);
        const losses = run.discriminatorLoss(given, gamma);
        update(D, settings.lr_discriminator);
        Object.assign(losses, run.generatorLoss(given));
        update(G, settings.lr_generator);
        const share = run.step ? 1 - settings.ema_decay : 1;
        for (let k = 0; k < G.values.length; k++)
          averaged.values[k] += share * (G.values[k] - averaged.values[k]);
        run.step++;
        return losses;
      };

      // -- what the page looks at -----------------------------------------------------------------

      const rooms = new Map(); // passes of other sizes, kept
      const roomOf = (net, rows) => {
        const key = `${net.sizes[0]} ${rows}`;
        if (!rooms.has(key)) rooms.set(key, pass(net, rows));
        return rooms.get(key);
      };

      /** x_0 of the averaged generator, from the same noise every time: samples that move. */
      run.samples = function (rows) {
        const fixed = live.normals(11);
        const fresh = (size) => numbers(size).map(fixed);
        let x = fresh(2 * rows);
        for (let level = T; level > 0; level--) {
          const t = new Uint8Array(rows).fill(level);
          const guess = guesses(averaged, roomOf(averaged, rows), x, t, fresh(rows * latent));
          x = posterior(guess, x, t, fresh(2 * rows));
        }
        return x;
      };

      /** D's verdict, 0 to 1, on each x_{t-1} of a grid of side x side points in +-reach, rows from
          the top, for one x_t. */
      run.surface = function (x, level, side, reach) {
        const points = numbers(2 * side * side);
        for (let k = 0; k < side * side; k++) {
          points[2 * k] = reach * ((2 * ((k % side) + 0.5)) / side - 1);
          points[2 * k + 1] = reach * (1 - (2 * (Math.floor(k / side) + 0.5)) / side);
        }
        const condition = numbers(2 * side * side).map((_, k) => x[k % 2]);
        const found = logits(roomOf(D, side * side), points, condition, new Uint8Array(side * side).fill(level));
        return found.map(sigmoid);
      };
      return run;
    };

    /** What a worker does: train in short bursts, hear the page in between, and show now and then
        where the run is. Messages: {recipe, data, seed, asked}, {asked} or {running}. */
    live.trainerLoop = function (scope) {
      const SAMPLES = 1500, SIDE = 56, REACH = 3, PAUSE = 220; // milliseconds between two views
      let [run, asked, running, burst, shown, spent, losses] = [null, null, false, false, 0, 0, {}];
      const show = () => {
        const points = run.samples(SAMPLES);
        const surface = run.surface(asked.x, asked.t, SIDE, REACH);
        const { step, steps } = run;
        scope.postMessage({ step, steps, seconds: spent / 1000, losses, points, surface, side: SIDE });
        shown = performance.now();
      };
      const work = () => {
        burst = false;
        if (!running || run.step >= run.steps) return;
        const begin = performance.now();
        while (performance.now() - begin < 40 && run.step < run.steps) Object.assign(losses, run.advance());
        spent += performance.now() - begin;
        if (performance.now() - shown > PAUSE || run.step >= run.steps) show();
        next();
      };
      const next = () => {
        if (burst) return;
        burst = true;
        setTimeout(work, 0);
      };
      scope.onmessage = ({ data: said }) => {
        if (said.recipe) {
          run = live.trainer(said.recipe, said.data, said.seed);
          [spent, shown, losses] = [0, 0, {}];
        }
        asked = said.asked ?? asked;
        running = said.running ?? running;
        if (!running || said.recipe) show();
        next();
      };
    };
  }
  trainerCode(live);

  /** A worker of its own, made of this file's text. */
  live.trainerWorker = function () {
    const code = `const live = { normals: ${live.normals} };\n(${trainerCode})(live);\nlive.trainerLoop(self);`;
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const worker = new Worker(address);
    URL.revokeObjectURL(address);
    return worker;
  };
})();
