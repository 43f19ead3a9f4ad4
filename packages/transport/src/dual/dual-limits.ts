/** Named limits of the choice between two technologies. The unit stands last in each name. */
export const dualLimits = {
  /** Default of the option `headStartMs`. */
  headStartMs: 400,
  /** How long the preferred one has to answer once the fallback has answered: the peer may just have started. */
  confirmMs: 300,
  /** Default of the option `healthyMs`. */
  healthyMs: 10_000,
  healthyMsMax: 5 * 60_000,
  /** A fallback within this time after a return makes the next return take longer. */
  flapMs: 60_000,
  /** Default of the option `probeIntervalMs`: between probes that are answered. After one that is not, it doubles. */
  probeIntervalMs: 2_000,
  probeIntervalMsMax: 8_000,
  probeWaitMs: 2_000,
  /** How many peers are remembered. Beyond that the oldest one is forgotten. */
  choicesMax: 4_096,
} as const;
