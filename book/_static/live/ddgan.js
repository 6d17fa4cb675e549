/* A Denoising Diffusion GAN in plain JavaScript: the networks of `python -m ddgan_lite export-js`
   and the chain around them. tests/site/test_live.py holds every number against PyTorch.

   Samples lie in flat arrays, one after the other; an image is [channel][row][column]. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});
  const SLOPE = 0.2; // of every LeakyReLU but an MLP's
  const GROUPS = 8; // of a group normalisation

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

  function decode({ type, data, shape, scale }) {
    const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const { buffer } = bytesOf(data);
    if (type === "float32") return new Float32Array(buffer);
    if (type === "float16") return Float32Array.from(new Uint16Array(buffer), fromHalf);
    const [whole, scales] = [new Int8Array(buffer), new Float32Array(bytesOf(scale).buffer)];
    const wide = whole.length / shape[0]; // of a row, which has a scale of its own
    return Float32Array.from(whole, (value, k) => value * scales[Math.floor(k / wide)]);
  }

  // -- layers -------------------------------------------------------------------------------

  /** y = leaky(W x + b) for n rows x of `wide` numbers; slope 1 leaves out the LeakyReLU. Four rows
      share what is read of W; behind the last one, it is repeated. */
  function linear(x, n, wide, weight, bias, slope) {
    const narrow = bias.length;
    const y = new Float32Array(n * narrow);
    for (let row = 0; row < n; row += 4) {
      const rows = [0, 1, 2, 3].map((k) => Math.min(row + k, n - 1));
      const [a, b, c, d] = rows.map((k) => k * wide);
      for (let out = 0; out < narrow; out++) {
        let p = bias[out], q = p, r = p, s = p;
        for (let k = 0, from = out * wide; k < wide; k++) {
          const w = weight[from + k];
          p += w * x[a + k];
          q += w * x[b + k];
          r += w * x[c + k];
          s += w * x[d + k];
        }
        y[rows[0] * narrow + out] = p < 0 ? slope * p : p;
        y[rows[1] * narrow + out] = q < 0 ? slope * q : q;
        y[rows[2] * narrow + out] = r < 0 ? slope * r : r;
        y[rows[3] * narrow + out] = s < 0 ? slope * s : s;
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

  /** Each matrix [row][column] of a batch as [column][row]. */
  function transposed(x, rows, columns) {
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += rows * columns)
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++)
          y[start + column * rows + row] = x[start + row * columns + column];
    return y;
  }

  /** What a convolution with padding 1 sees of images size x size, at each place a row of
      [channel][kernel][kernel]. */
  function patches(x, channels, size, kernel, stride) {
    const [side, area, taps] = [size / stride, size * size, kernel * kernel];
    const places = (x.length / (channels * area)) * side * side;
    const rows = new Float32Array(places * channels * taps); // 0 beyond the edge
    for (let place = 0; place < places; place++) {
      const image = Math.floor(place / (side * side)) * channels * area;
      const top = stride * (Math.floor(place / side) % side) - 1;
      const left = stride * (place % side) - 1;
      for (let tap = 0; tap < taps; tap++) {
        const [row, column] = [top + Math.floor(tap / kernel), left + (tap % kernel)];
        if (row < 0 || row >= size || column < 0 || column >= size) continue;
        const from = image + row * size + column;
        const into = place * channels * taps + tap;
        for (let c = 0; c < channels; c++) rows[into + c * taps] = x[from + c * area];
      }
    }
    return rows;
  }

  /** Conv2d `name`, padding 1, of images size x size; weight [out][in][kernel][kernel]. */
  function conv(weights, name, x, size, slope, kernel = 3, stride = 1) {
    const [weight, bias] = [weights[`${name}.weight`], weights[`${name}.bias`]];
    const wide = weight.length / bias.length;
    const rows = patches(x, wide / kernel ** 2, size, kernel, stride);
    const y = linear(rows, rows.length / wide, wide, weight, bias, slope);
    return transposed(y, (size / stride) ** 2, bias.length);
  }

  /** ConvTranspose2d `name` of images size x size, 4 x 4, stride 2, padding 1: twice the size;
      weight [in][out][4][4]. */
  function upsample(weights, name, x, size, slope) {
    const [weight, bias] = [weights[`${name}.weight`], weights[`${name}.bias`]];
    const [area, side, taps] = [size * size, 2 * size, 16 * bias.length];
    const channels = weight.length / taps;
    const places = x.length / channels; // what each gives to the 16 around it
    const given = linear(
      transposed(x, channels, area), places, channels,
      transposed(weight, channels, taps), new Float32Array(taps), 1,
    );
    const y = new Float32Array(places * bias.length * 4);
    y.forEach((_, k) => (y[k] = bias[Math.floor(k / side ** 2) % bias.length]));
    for (let place = 0; place < places; place++) {
      const image = Math.floor(place / area) * bias.length * side ** 2;
      const top = 2 * (Math.floor(place / size) % size) - 1;
      const left = 2 * (place % size) - 1;
      for (let tap = 0; tap < 16; tap++) {
        const [row, column] = [top + Math.floor(tap / 4), left + (tap % 4)];
        if (row < 0 || row >= side || column < 0 || column >= side) continue;
        const into = image + row * side + column;
        for (let out = 0; out < bias.length; out++)
          y[into + out * side ** 2] += given[place * taps + out * 16 + tap];
      }
    }
    return leaky(y, slope);
  }

  /** Group normalisation `name`, whose scale and shift come from the style of each of n images. */
  function restyle(weights, name, x, style, n, slope) {
    const [weight, bias] = [weights[`${name}.affine.weight`], weights[`${name}.affine.bias`]];
    const affine = linear(style, n, style.length / n, weight, bias, 1);
    const [channels, image, group] = [bias.length / 2, x.length / n, x.length / n / GROUPS];
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += group) {
      let [sum, squares] = [0, 0];
      for (let k = start; k < start + group; k++) {
        sum += x[k];
        squares += x[k] * x[k];
      }
      const mean = sum / group;
      const scale = 1 / Math.sqrt(squares / group - mean * mean + 1e-5);
      for (let k = start; k < start + group; k++) {
        const row = Math.floor(k / image);
        const at = 2 * channels * row + Math.floor(((k % image) * channels) / image);
        y[k] = (x[k] - mean) * scale * (1 + affine[at]) + affine[channels + at];
      }
    }
    return leaky(y, slope);
  }

  function leaky(y, slope) {
    for (let k = 0; k < y.length; k++) if (y[k] < 0) y[k] *= slope;
    return y;
  }

  const sum = (x, y) => x.map((value, k) => value + y[k]);

  /** n rows of x, beside each that of y. */
  function beside(x, y, n) {
    const [wide, more] = [x.length / n, y.length / n];
    const rows = new Float32Array(x.length + y.length);
    for (let row = 0; row < n; row++) {
      rows.set(x.subarray(row * wide, (row + 1) * wide), row * (wide + more));
      rows.set(y.subarray(row * more, (row + 1) * more), row * (wide + more) + wide);
    }
    return rows;
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

  /** Rows (x, z, one-hot t, one-hot label) for the first linear layer; zeros for no label. A list of
      labels has one for each row. */
  function inputs(x, z, t, n, { dim, latent, T, classes }, label) {
    const wide = dim + latent + T + classes;
    const rows = new Float32Array(n * wide);
    for (let row = 0; row < n; row++) {
      rows.set(x.subarray(row * dim, (row + 1) * dim), row * wide);
      rows.set(z.subarray(row * latent, (row + 1) * latent), row * wide + dim);
      rows[row * wide + dim + latent + t - 1] = 1;
      const own = Array.isArray(label) ? label[row] : label;
      if (own !== null) rows[row * wide + dim + latent + T + own] = 1;
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

  function convGenerator(weights, { config }, x, z, t, n, sizes, label) {
    const full = config.shape[1];
    let h = mlp(weights, "dense", inputs(x, z, t, n, sizes, label), n, SLOPE, true);
    for (let level = 0; level < config.levels; level++)
      h = upsample(weights, `upsample.${level}`, h, full >> (config.levels - level), SLOPE);
    h = beside(h, x, n); // x_t is laid beside the picture once more
    h = conv(weights, "merge", h, full, SLOPE);
    return conv(weights, "out", h, full, 1).map((value) => 1.05 * Math.tanh(value));
  }

  /** For every pixel of planes of half the size, four for each plane of x: where in x it lies. */
  function unshuffled(planes, full) {
    const half = full / 2;
    return Uint32Array.from({ length: planes * full * full }, (_, k) => {
      const [column, row] = [k % half, Math.floor(k / half) % half];
      const part = Math.floor(k / half ** 2); // of plane part / 4, its corner part % 4
      const line = Math.floor(part / 4) * full + 2 * row + ((part >> 1) % 2);
      return line * full + 2 * column + (part % 2);
    });
  }

  function pyramidGenerator(weights, { config, alpha_bar }, x, z, t, n, sizes, label) {
    const [channels, full] = config.shape;
    const { skip, out, scale } = preconditioning(alpha_bar[t], config.data_std);
    const asked = inputs(new Float32Array(0), z, t, n, { ...sizes, dim: 0 }, label);
    const style = mlp(weights, "mapping", asked, n, SLOPE, true);
    const blocks = (name, h, size) => {
      for (let k = 0; k < config.blocks; k++) {
        const inner = restyle(weights, `${name}.${k}.restyle`, h, style, n, SLOPE);
        const first = conv(weights, `${name}.${k}.first`, inner, size, SLOPE);
        h = sum(h, conv(weights, `${name}.${k}.second`, first, size, 1));
      }
      return h;
    };
    const down = (level, h, size) => {
      h = restyle(weights, `down_styles.${level}`, h, style, n, SLOPE);
      return blocks(`down_blocks.${level}`, h, size);
    };
    const order = unshuffled(n * channels, full);
    let size = full / 2;
    let h = Float32Array.from(order, (from) => scale * x[from]);
    h = down(0, conv(weights, "stem", h, size, 1), size);
    const skips = [];
    for (let level = 1; level <= config.levels; level++) {
      skips.push(h);
      h = conv(weights, `downsample.${level - 1}`, h, size, 1, 4, 2);
      size /= 2;
      h = down(level, h, size);
    }
    h = leaky(sum(h, mlp(weights, "dense", beside(h, style, n), n, SLOPE, false)), SLOPE);
    h = blocks(`up_blocks.${config.levels}`, h, size);
    for (let level = config.levels - 1; level >= 0; level--) {
      h = sum(upsample(weights, `upsample.${level}`, h, size, SLOPE), skips[level]);
      size *= 2;
      const fine = conv(weights, `refine.${level}`, h, size, 1);
      h = sum(h, restyle(weights, `up_styles.${level}`, fine, style, n, SLOPE));
      h = blocks(`up_blocks.${level}`, h, size);
    }
    h = conv(weights, "out", h, size, 1);
    const guess = new Float32Array(x.length);
    order.forEach((into, k) => {
      const value = 1.05 * Math.tanh(skip * x[into] + out * h[k]);
      guess[into] = Math.max(-1, Math.min(1, value));
    });
    return guess;
  }

  const GENERATORS = { mlp: mlpGenerator, conv: convGenerator, pyramid: pyramidGenerator };

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
        a model with classes, one label for all or a list of n; null asks for nothing. */
    const predict = (x, z, t, n, label = null) =>
      GENERATORS[file.kind](weights, file, x, z, t, n, sizes, label);

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
