/* A Denoising Diffusion GAN in plain JavaScript: the networks of `python -m ddgan_lite export-js`
   and the chain around them. tests/site/test_live.py holds every number against PyTorch.

   Samples lie in flat arrays, one after the other; an image is [channel][row][column]. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});
  const CONV_SLOPE = 0.2; // of ConvGenerator's LeakyReLU

  // -- numbers ------------------------------------------------------------------------------

  /** A function that returns the next number of N(0, 1): mulberry32, then Box and Muller. */
  live.normals = function (seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
    let spare = null;
    return () => {
      if (spare !== null) {
        const kept = spare;
        spare = null;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    };
  };

  live.normalArray = (size, normal) => Float32Array.from({ length: size }, normal);

  /** The half-precision number with these 16 bits. */
  function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * 2 ** -24 * fraction;
    return sign * 2 ** (exponent - 25) * (1024 + fraction);
  }

  function decode({ type, data }) {
    const text = atob(data);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    if (type === "float32") return new Float32Array(bytes.buffer);
    return Float32Array.from(new Uint16Array(bytes.buffer), fromHalf);
  }

  // -- layers -------------------------------------------------------------------------------

  /** y = leaky(W x + b) for n rows x of `wide` numbers; slope 1 leaves out the LeakyReLU. */
  function linear(x, n, wide, weight, bias, slope) {
    const narrow = bias.length;
    const y = new Float32Array(n * narrow);
    for (let row = 0; row < n; row++) {
      for (let out = 0; out < narrow; out++) {
        let sum = bias[out];
        for (let k = 0; k < wide; k++) sum += weight[out * wide + k] * x[row * wide + k];
        y[row * narrow + out] = sum < 0 ? slope * sum : sum;
      }
    }
    return y;
  }

  /** The linear layers `prefix`.0, .2, .4, ... with LeakyReLU between them, and after the last
      if `closed`. */
  function mlp(weights, prefix, x, n, slope, closed) {
    for (let layer = 0; `${prefix}.${layer}.weight` in weights; layer += 2) {
      const last = !(`${prefix}.${layer + 2}.weight` in weights);
      const bias = weights[`${prefix}.${layer}.bias`];
      const weight = weights[`${prefix}.${layer}.weight`];
      x = linear(x, n, weight.length / bias.length, weight, bias, last && !closed ? 1 : slope);
    }
    return x;
  }

  /** Conv2d of one image, 3 x 3, stride 1, padding 1; weight [out][in][3][3]. */
  function conv(x, channels, size, weight, bias, slope) {
    const y = new Float32Array(bias.length * size * size);
    for (let out = 0; out < bias.length; out++) {
      const plane = y.subarray(out * size * size, (out + 1) * size * size).fill(bias[out]);
      for (let c = 0; c < channels; c++) {
        for (let tap = 0; tap < 9; tap++) {
          const [dy, dx] = [Math.floor(tap / 3) - 1, (tap % 3) - 1];
          const w = weight[(out * channels + c) * 9 + tap];
          for (let row = Math.max(0, -dy); row < size - Math.max(0, dy); row++) {
            const from = (c * size + row + dy) * size + dx;
            const end = size - Math.max(0, dx);
            for (let col = Math.max(0, -dx); col < end; col++)
              plane[row * size + col] += w * x[from + col];
          }
        }
      }
    }
    return leaky(y, slope);
  }

  /** ConvTranspose2d of one image, 4 x 4, stride 2, padding 1: twice the size;
      weight [in][out][4][4]. */
  function upsample(x, channels, size, weight, bias, slope) {
    const side = 2 * size;
    const y = new Float32Array(bias.length * side * side);
    for (let out = 0; out < bias.length; out++) {
      const plane = y.subarray(out * side * side, (out + 1) * side * side).fill(bias[out]);
      for (let c = 0; c < channels; c++) {
        for (let tap = 0; tap < 16; tap++) {
          const [dy, dx] = [Math.floor(tap / 4) - 1, (tap % 4) - 1];
          const w = weight[(c * bias.length + out) * 16 + tap];
          for (let row = 0; row < size; row++) {
            const into = 2 * row + dy;
            if (into < 0 || into >= side) continue;
            for (let col = 0; col < size; col++) {
              const at = 2 * col + dx;
              if (at >= 0 && at < side) plane[into * side + at] += w * x[(c * size + row) * size + col];
            }
          }
        }
      }
    }
    return leaky(y, slope);
  }

  function leaky(y, slope) {
    for (let k = 0; k < y.length; k++) if (y[k] < 0) y[k] *= slope;
    return y;
  }

  // -- the generator and the chain ----------------------------------------------------------

  /** What makes a network's output a correction of the best linear guess: the guess of x_0 is
      skip x_t + out net(scale x_t). Without `std`, that of the data, the output is the guess. */
  function preconditioning(alphaBar, std) {
    if (!std) return { skip: 0, out: 1, scale: 1 };
    const scale = 1 / Math.sqrt(std ** 2 * alphaBar + 1 - alphaBar);
    const skip = std ** 2 * Math.sqrt(alphaBar) * scale ** 2;
    return { skip, out: std * Math.sqrt(1 - alphaBar) * scale, scale };
  }

  /** n rows of x, beside each the sines and then the cosines of its multiples. */
  function waves(x, n, frequencies) {
    const [dim, many] = [x.length / n, frequencies.length];
    const wide = dim * (1 + 2 * many);
    const rows = new Float32Array(n * wide);
    for (let row = 0; row < n; row++) {
      for (let k = 0; k < dim; k++) {
        const value = x[row * dim + k];
        rows[row * wide + k] = value;
        for (let wave = 0; wave < many; wave++) {
          const angle = frequencies[wave] * value;
          rows[row * wide + dim * (1 + wave) + k] = Math.sin(angle);
          rows[row * wide + dim * (1 + many + wave) + k] = Math.cos(angle);
        }
      }
    }
    return rows;
  }

  /** Rows (x, z, one-hot t, one-hot label) for the first linear layer; zeros for no label. */
  function inputs(x, z, t, n, { dim, latent, T, classes }, label) {
    const wide = dim + latent + T + classes;
    const rows = new Float32Array(n * wide);
    for (let row = 0; row < n; row++) {
      rows.set(x.subarray(row * dim, (row + 1) * dim), row * wide);
      rows.set(z.subarray(row * latent, (row + 1) * latent), row * wide + dim);
      rows[row * wide + dim + latent + t - 1] = 1;
      if (label !== null) rows[row * wide + dim + latent + T + label] = 1;
    }
    return rows;
  }

  function mlpGenerator(weights, { config, alpha_bar }, x, z, t, n, sizes, label) {
    // Files from before frequencies and data_std hold neither: a plain network.
    const { skip, out, scale } = preconditioning(alpha_bar[t], config.data_std);
    const seen = waves(x.map((value) => scale * value), n, config.frequencies ?? []);
    const rows = inputs(seen, z, t, n, { ...sizes, dim: seen.length / n }, label);
    const answer = mlp(weights, "net", rows, n, config.slope, false);
    return answer.map((value, k) => skip * x[k] + out * value);
  }

  function convGenerator(weights, config, x, coarse) {
    const [channels, full] = config.shape;
    let size = full >> config.levels;
    let h = coarse;
    for (let level = 0; level < config.levels; level++, size *= 2) {
      const bias = weights[`upsample.${level}.bias`];
      h = upsample(h, h.length / size ** 2, size, weights[`upsample.${level}.weight`], bias, CONV_SLOPE);
    }
    const both = new Float32Array(h.length + x.length);
    both.set(h);
    both.set(x, h.length); // x_t is laid beside the picture once more
    const width = config.width;
    h = conv(both, width + channels, full, weights["merge.weight"], weights["merge.bias"], CONV_SLOPE);
    h = conv(h, width, full, weights["out.weight"], weights["out.bias"], 1);
    return h.map((value) => 1.05 * Math.tanh(value));
  }

  /** The model `name` of a file written by export-js. */
  live.model = function (name) {
    const file = globalThis.ddganModels[name];
    const weights = Object.fromEntries(
      Object.entries(file.weights).map(([key, tensor]) => [key, decode(tensor)])
    );
    const { config } = file;
    const sizes = {
      dim: config.shape.reduce((a, b) => a * b, 1),
      latent: config.latent_dim,
      T: config.num_steps,
      classes: config.classes ?? 0, // files from before labels do not say
    };

    /** The generator's guesses of x_0, for n samples x_t, their latents z, one t in 1..T and, of
        a model with classes, one label for all; null asks for nothing. */
    function predict(x, z, t, n, label = null) {
      if (file.kind === "mlp") return mlpGenerator(weights, file, x, z, t, n, sizes, label);
      const rows = inputs(x, z, t, n, sizes, label);
      const coarse = mlp(weights, "dense", rows, n, CONV_SLOPE, true);
      const [guesses, wide] = [new Float32Array(x.length), coarse.length / n];
      for (let k = 0; k < n; k++) {
        const own = x.subarray(k * sizes.dim, (k + 1) * sizes.dim);
        const part = coarse.subarray(k * wide, (k + 1) * wide);
        guesses.set(convGenerator(weights, config, own, part), k * sizes.dim);
      }
      return guesses;
    }

    /** x_{t-1} around the guesses: the mean of the posterior, and its noise (0 at t = 1). */
    function posterior(guess, x, t, noise) {
      const [a, b] = [file.posterior_coef_x0[t], file.posterior_coef_xt[t]];
      const std = Math.sqrt(Math.max(0, file.posterior_variance[t]));
      return x.map((value, k) => a * guess[k] + b * value + std * noise[k]);
    }

    /** [x_from, .., x_0] of n samples, from noise or from `start`; `normal` as from live.normals. */
    function sample(n, normal, start = null, from = sizes.T, label = null) {
      const chain = [start ?? live.normalArray(n * sizes.dim, normal)];
      for (let t = from; t > 0; t--) {
        const x = chain[chain.length - 1];
        const guess = predict(x, live.normalArray(n * sizes.latent, normal), t, n, label);
        chain.push(posterior(guess, x, t, live.normalArray(x.length, normal)));
      }
      return chain;
    }

    return { ...sizes, shape: config.shape, alphaBar: file.alpha_bar, predict, posterior, sample };
  };
})();
