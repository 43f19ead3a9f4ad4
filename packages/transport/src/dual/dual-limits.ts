/** Named limits of the choice between two technologies. The unit stands last in each name. */
export const dualLimits = {
  /** Default of the option `headStartMs`. */
  headStartMs: 400,
  /** Time for the chosen one to answer anew once the other one has answered: the peer may just have started. */
  confirmMs: 300,
  /** Default of the option `healthyMs`. */
  healthyMs: 10_000,
  healthyMsMax: 5 * 60_000,
  /** A fallback this soon after a return makes the next return take longer. */
  flapMs: 60_000,
  /** Default of the option `probeIntervalMs`: between probes that are answered. After one that is not, it doubles. */
  probeIntervalMs: 2_000,
  probeIntervalMsMax: 8_000,
  probeWaitMs: 2_000,
  /** Peers that are remembered; the one that was remembered first is forgotten. */
  choicesMax: 4_096,
} as const;
