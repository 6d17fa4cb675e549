/* 25 Gaussians in the plane: their scores, the best Gaussian steps, frames and circles. */
(function () {
  "use strict";
  const live = globalThis.ddganLive;
  const REACH = (live.planeReach = 3); // of the squares
  const MODES = [-2, -1, 0, 1, 2].flatMap((x) => [-2, -1, 0, 1, 2].map((y) => [x, y]));
  const DATA = live.planeData = { weights: Array(25).fill(1 / 25), means: MODES, std: 0.05 };

  /** Share of samples (flat) within three standard deviations of a mode, and the modes that hold
      at least a fifth of their fair share. */
  live.planeScores = function (points) {
    const [counts, n] = [Array(25).fill(0), points.length / 2];
    for (let k = 0; k < points.length; k += 2) {
      const near = [points[k], points[k + 1]].map((v) => Math.max(-2, Math.min(2, Math.round(v))));
      const distance = Math.hypot(points[k] - near[0], points[k + 1] - near[1]);
      if (distance < 3 * DATA.std) counts[(near[0] + 2) * 5 + near[1] + 2]++;
    }
    return {
      hq3: counts.reduce((a, b) => a + b) / n,
      modes: counts.filter((count) => count >= (0.2 * n) / 25).length,
    };
  };

  /** [x_T, .., x_0] by the best Gaussian at every step: nothing trained, nothing to blame. */
  live.gaussianChain = function (alphaBar, start, normal) {
    const chain = [start];
    for (let t = alphaBar.length - 1; t > 0; t--) {
      const x = chain[chain.length - 1];
      const next = new Float32Array(x.length);
      const back = live.back(DATA, alphaBar[t - 1], alphaBar[t]);
      for (let k = 0; k < x.length; k += 2)
        next.set(live.bestGaussian(back([x[k], x[k + 1]]), normal), k);
      chain.push(next);
    }
    return chain;
  };

  live.circles = function (context, { left, top, size }, colour, weights = null) {
    const scale = size / (2 * REACH);
    MODES.forEach(([x, y], k) => {
      context.beginPath();
      context.arc(left + (x + REACH) * scale, top + (REACH - y) * scale, 0.15 * scale, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth, context.globalAlpha] = [colour("quiet"), 1, 0.8];
      context.stroke();
      if (!weights || weights[k] < 0.002) return;
      [context.fillStyle, context.globalAlpha] = [colour("data"), 0.15 + 0.85 * weights[k]];
      context.fill();
    });
    context.globalAlpha = 1;
  };

  live.frame = function (context, { left, top, size }, colour, title) {
    [context.strokeStyle, context.lineWidth, context.fillStyle] = [colour("quiet"), 1, colour("ink")];
    context.strokeRect(left + 0.5, top + 0.5, size - 1, size - 1);
    context.textAlign = "left";
    context.fillText(title, left + 2, top - 7);
  };
})();
