/* N Gaussian steps from noise to data on the line, each with the exact mean and variance of
   q(x_{t-1} | x_t), and the density in which they end: carried from grid to grid, nothing drawn.
   Positions are y_t = x_t / sqrt(alpha_bar_t) = x_0 + sigma_t * noise, in which every marginal
   is the data blurred by sigma_t. Data are {means, std}: rising numbers of equal weight. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});
  const FINE = 4; // nodes to one sigma_t; with 24 the results differ by less than 0.001
  const PER_STD = 5; // nodes of the last grid to one std of the data
  const QUADRATURE = [ // Gauss-Hermite, for kernels narrower than the grid
    [-2.8569700138728, 0.0112574113277], [-1.3556261799743, 0.2220759220056], [0, 0.5333333333333],
    [1.3556261799743, 0.2220759220056], [2.8569700138728, 0.0112574113277],
  ];

  /** Points on a line, `side` at each scale: lineData(0.05, [1]), lineData(0.005, [1, 0.1]). */
  live.lineData = function (std, spacings, side = 5) {
    let means = [0];
    for (const spacing of spacings)
      means = means.flatMap((mean) =>
        Array.from({ length: side }, (_, k) => mean + spacing * (k - (side - 1) / 2))
      );
    return { means, std };
  };

  /** The levels of the paper's chain of N steps, x_1 first. */
  live.paperLevels = (steps) =>
    Array.from({ length: steps }, (_, k) => Math.sqrt(1 / live.alphaBar((k + 1) / steps) - 1));

  /** N levels in equal ratios, from `first` to `last`. */
  live.evenLevels = (steps, first, last) =>
    Array.from({ length: steps }, (_, k) =>
      steps === 1 ? last : first * (last / first) ** (k / (steps - 1))
    );

  const variance = ({ means, std }) =>
    means.reduce((sum, mean) => sum + mean * mean, 0) / means.length + std * std;

  /** For a rising sequence of y: density of the data blurred to `width`, and mean and variance
      of the centre that y came from. Centres below e^-40 of the nearest one are left out. */
  function origins({ means }, width) {
    const [scale, last] = [0.5 / (width * width), means.length - 1];
    const constant = 1 / (means.length * width * Math.sqrt(2 * Math.PI));
    const found = { density: 0, mean: 0, variance: 0 };
    let near = 0;
    return (y) => {
      while (near < last && Math.abs(means[near + 1] - y) <= Math.abs(means[near] - y)) near++;
      const nearest = (y - means[near]) ** 2 * scale;
      let [total, first, second] = [1, 0, 0];
      for (const way of [1, -1])
        for (let k = near + way; k >= 0 && k <= last; k += way) {
          const below = (y - means[k]) ** 2 * scale - nearest;
          if (below > 40) break;
          const [weight, offset] = [Math.exp(-below), means[k] - means[near]];
          total += weight;
          first += weight * offset;
          second += weight * offset * offset;
        }
      first /= total;
      found.density = constant * total * Math.exp(-nearest);
      found.mean = means[near] + first;
      found.variance = Math.max(0, second / total - first * first);
      return found;
    };
  }

  /** Add `mass` spread as N(mean, std^2) to the grid {start, step, mass}. */
  function spread(grid, mass, mean, std) {
    const { start, step, mass: target } = grid;
    const [place, width, last] = [(mean - start) / step, std / step, target.length - 1];
    if (!(place >= 0 && place < last)) return; // beyond five standard deviations of everything
    if (width < 1.2) {
      for (const [node, weight] of QUADRATURE) {
        const at = Math.min(Math.max(place + node * width, 0), last - 1e-9);
        const [k, share] = [Math.floor(at), at % 1];
        target[k] += mass * weight * (1 - share);
        target[k + 1] += mass * weight * share;
      }
      return;
    }
    // A Gaussian on an even grid is a product of ratios that themselves shrink evenly.
    const [middle, shrink] = [Math.round(place), Math.exp(-1 / (width * width))];
    const top = (mass * Math.exp(-0.5 * ((middle - place) / width) ** 2)) / (width * Math.sqrt(2 * Math.PI));
    const floor = 1e-9 * top;
    for (const way of [1, -1]) {
      let value = top;
      let ratio = Math.exp(-(2 * way * (middle - place) + 1) / (2 * width * width));
      for (let k = middle + way; k >= 0 && k <= last; k += way) {
        value *= ratio;
        if (value < floor) break;
        ratio *= shrink;
        target[k] += value;
      }
    }
    target[middle] += top;
  }

  const emptyGrid = (reach, step) => {
    const half = Math.ceil(reach / step);
    return { start: -half * step, step, mass: new Float64Array(2 * half + 1) };
  };

  /** One step: the mass on `grid` at level sigma goes to a new grid at level `before`. */
  function stepBack(data, grid, sigma, before) {
    const [prior, added] = [data.std ** 2 + before ** 2, sigma ** 2 - before ** 2];
    const kept = prior / (prior + added); // of y; the rest is drawn to the centres
    const where = origins(data, Math.sqrt(prior + added));
    const reach = 5 * Math.sqrt(1 + variance(data) + before ** 2);
    const next = emptyGrid(reach, before > 0 ? before / FINE : data.std / PER_STD);
    grid.mass.forEach((mass, k) => {
      if (mass < 1e-10) return;
      const y = grid.start + k * grid.step;
      const { mean, variance: between } = where(y);
      const std = Math.sqrt(kept * added + (1 - kept) ** 2 * between);
      spread(next, mass, kept * y + (1 - kept) * mean, std);
    });
    return next;
  }

  /** Entropy of the data blurred by sigma; E log std of the step from there to `before`. */
  function entropies(data, sigma, before) {
    const width = Math.hypot(data.std, sigma);
    const [prior, added] = [data.std ** 2 + before ** 2, sigma ** 2 - before ** 2];
    const kept = prior / (prior + added);
    const where = origins(data, width);
    const [step, { means }] = [width / 8, data];
    let [entropy, logStd, k] = [0, 0, 0];
    for (let y = means[0] - 8 * width; y <= means.at(-1) + 8 * width; y += step) {
      while (k < means.length - 1 && y > means[k] + 8 * width) k++;
      if (y < means[k] - 8 * width) y = means[k] - 8 * width; // nothing lies in between
      const { density, variance: between } = where(y);
      if (density <= 0) continue;
      entropy -= step * density * Math.log(density);
      logStd += step * density * 0.5 * Math.log(kept * added + (1 - kept) ** 2 * between);
    }
    return { entropy, logStd };
  }

  const GAUSSIAN = 0.5 * Math.log(2 * Math.PI * Math.E); // entropy of N(0, 1)

  /** The mean KL(q(x_{t-1} | x_t) || its best Gaussian) of every step, x_1 first; `start` is
      KL(q(x_T) || N(0, 1)). By the chain rule, steps and start together bound the KL at x_0. */
  live.stepDivergences = function (data, levels) {
    const all = [0, ...levels];
    const found = all.map((sigma, t) => entropies(data, sigma, t ? all[t - 1] : 0));
    const steps = levels.map((sigma, k) => {
      const noise = GAUSSIAN + 0.5 * Math.log(sigma ** 2 - all[k] ** 2);
      const exact = found[k].entropy + noise - found[k + 1].entropy; // h(x_{t-1} | x_t)
      return Math.max(0, GAUSSIAN + found[k + 1].logStd - exact);
    });
    const [last, total] = [levels.at(-1) ** 2, variance(data)];
    const cross = 0.5 * Math.log(2 * Math.PI * (1 + last)) + (0.5 * (total + last)) / (1 + last);
    return { steps, start: Math.max(0, cross - found.at(-1).entropy) };
  };

  /** Where N Gaussian steps through these levels (rising) end: the grid of x_0, the share within
      3 std of a mode, the modes' shares of that, and KL from their weights and from the data. */
  live.followed = function (data, levels) {
    const top = levels.at(-1);
    const begin = Math.sqrt(1 + top * top); // x_T ~ N(0, 1)
    let grid = emptyGrid(5 * begin, Math.min(top, begin) / FINE);
    grid.mass.forEach((_, k) => {
      const u = (grid.start + k * grid.step) / begin;
      grid.mass[k] = (Math.exp(-0.5 * u * u) * grid.step) / (begin * Math.sqrt(2 * Math.PI));
    });
    for (let t = levels.length; t > 0; t--)
      grid = stepBack(data, grid, levels[t - 1], t > 1 ? levels[t - 2] : 0);
    const near = 3 * PER_STD;
    const held = data.means.map((mean) => {
      const middle = Math.round((mean - grid.start) / grid.step);
      let sum = -0.5 * (grid.mass[middle - near] + grid.mass[middle + near]); // trapezia
      for (let k = middle - near; k <= middle + near; k++) sum += grid.mass[k];
      return sum;
    });
    const hq3 = held.reduce((a, b) => a + b, 0);
    const shares = held.map((mass) => mass / hq3);
    const klModes = shares.reduce(
      (sum, share) => sum + (share > 0 ? share * Math.log(share * shares.length) : 0), 0
    );
    const truth = live.dataGrid(data, grid);
    const klData = truth.reduce(
      (sum, p, k) => sum + (p > 1e-12 ? p * Math.log(p / Math.max(grid.mass[k], 1e-300)) : 0), 0
    );
    return { grid, truth, hq3, shares, klModes, klData };
  };

  /** The data's own mass on the nodes of a grid. */
  live.dataGrid = function (data, { start, step, mass }) {
    if (data.grid?.length === mass.length) return data.grid;
    const truth = { start, step, mass: new Float64Array(mass.length) };
    for (const mean of data.means) spread(truth, 1 / data.means.length, mean, data.std);
    return (data.grid = truth.mass);
  };
})();
