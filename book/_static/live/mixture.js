/* A mixture of equal Gaussians under noise: the exact denoising distribution q(x_{t-1} | x_t).
   The algebra is that of ddgan_lite/chain/mixtures.py and the page "Derivations"; all in double
   precision. A mixture is {weights, means, std}: K numbers, K points, one std for all. */
(function () {
  "use strict";
  const live = (globalThis.ddganLive ??= {});
  const squared = (a, b) => a.reduce((sum, value, k) => sum + (value - b[k]) ** 2, 0);

  /** The signal share alpha_bar at `share` of the way from data (0) to noise (1). */
  live.alphaBar = function (share) {
    const log = (s) => -0.5 * s ** 2 * (20 - 0.1) - 0.1 * s;
    return Math.exp(log(1e-3 + (1 - 1e-3) * share) - log(1e-3));
  };

  /** The marginal q(x_t). */
  live.noised = ({ weights, means, std }, alphaBar) => ({
    weights,
    means: means.map((mean) => mean.map((value) => Math.sqrt(alphaBar) * value)),
    std: Math.sqrt(alphaBar * std ** 2 + 1 - alphaBar),
  });

  /** log w_k N(x; mu_k, std^2) for every component. */
  function logParts({ weights, means, std }, x) {
    const constant = x.length * (Math.log(std) + 0.5 * Math.log(2 * Math.PI));
    return means.map((mean, k) => Math.log(weights[k]) - (0.5 * squared(x, mean)) / std ** 2 - constant);
  }

  live.logDensity = function (mixture, x) {
    const parts = logParts(mixture, x);
    const top = Math.max(...parts);
    return top + Math.log(parts.reduce((sum, part) => sum + Math.exp(part - top), 0));
  };

  /** The exact q(x_{t-1} | x_t), as a function of x_t; alphaBarPrev = 1 gives q(x_0 | x_t). */
  live.back = function (data, alphaBarPrev, alphaBar) {
    const alpha = alphaBar / alphaBarPrev;
    const [prior, marginal] = [live.noised(data, alphaBarPrev), live.noised(data, alphaBar)];
    const variance = prior.std ** 2;
    const total = alpha * variance + 1 - alpha;
    const [own, seen] = [(1 - alpha) / total, (Math.sqrt(alpha) * variance) / total];
    const std = Math.sqrt((variance * (1 - alpha)) / total);
    return (x) => {
      const parts = logParts(marginal, x);
      const top = Math.max(...parts);
      const weights = parts.map((part) => Math.exp(part - top));
      const sum = weights.reduce((a, b) => a + b, 0);
      return {
        weights: weights.map((weight) => weight / sum),
        means: prior.means.map((mean) => mean.map((m, k) => own * m + seen * x[k])),
        std,
      };
    };
  };

  live.denoising = (data, x, alphaBarPrev, alphaBar) => live.back(data, alphaBarPrev, alphaBar)(x);

  live.mean = ({ weights, means }) =>
    means[0].map((_, k) => means.reduce((sum, mean, i) => sum + weights[i] * mean[k], 0));

  /** The covariance, d x d. */
  live.covariance = function (mixture) {
    const centre = live.mean(mixture);
    return centre.map((_, i) =>
      centre.map((_, j) =>
        mixture.means.reduce(
          (sum, mean, k) => sum + mixture.weights[k] * (mean[i] - centre[i]) * (mean[j] - centre[j]),
          i === j ? mixture.std ** 2 : 0
        )
      )
    );
  };

  /** KL(q || best Gaussian) in nats, in one dimension: the trapezoidal rule, 801 nodes over
      +-10 std of every component. */
  live.klToGaussian = function (mixture) {
    const mean = live.mean(mixture)[0];
    const variance = live.covariance(mixture)[0][0];
    const logGaussian = (x) => -0.5 * ((x - mean) ** 2 / variance + Math.log(2 * Math.PI * variance));
    let sum = 0;
    for (let node = 0; node <= 800; node++) {
      const u = node / 40 - 10;
      const weight = Math.exp(-0.5 * u * u) / Math.sqrt(2 * Math.PI) / 40;
      mixture.means.forEach(([centre], k) => {
        if (mixture.weights[k] < 1e-16) return; // adds less than rounding
        const x = centre + mixture.std * u;
        sum += weight * mixture.weights[k] * (live.logDensity(mixture, [x]) - logGaussian(x));
      });
    }
    return sum;
  };

  /** A sample of the best Gaussian of a mixture in the plane: same mean, same covariance. */
  live.bestGaussian = function (mixture, normal) {
    const [[a, b], [, d]] = live.covariance(mixture);
    const [x, y] = live.mean(mixture);
    const first = Math.sqrt(a); // Cholesky
    const below = b / first;
    const last = Math.sqrt(Math.max(0, d - below ** 2));
    const [u, v] = [normal(), normal()];
    return [x + first * u, y + below * u + last * v];
  };
})();
